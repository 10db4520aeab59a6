//! Turns: the server's steps, one after the other, with time between them where the process is
//! stopped; and the steps of the witness thread. What comes out of a step is carried away at once.

use base::ShardId;
use server::{Pause, Phase, Progress};
use shard::Shard;

use crate::clock::{True, MS, US};
use crate::disk::SimDisk;
use crate::machine::{guarded, Ended, Node, Stop};
use crate::plan::{length, Fault};
use crate::world::World;

/// A step that takes longer is followed by what has happened meanwhile.
const LONG: u64 = 20 * US;

impl World {
    pub fn turn(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        if machine.next_turn != Some(self.now) || machine.node.is_none() {
            return; // an earlier turn has overtaken this one
        }
        machine.next_turn = None;
        if machine.busy_until > self.now {
            return self.want_turn(m, self.now);
        }
        let mut at = self.now;
        loop {
            self.begin_turn(m);
            let Some((progress, end)) = self.step(m, at) else {
                return;
            };
            match progress {
                Progress::More(phase) => {
                    if let Err(why) = self.look_after(m, phase) {
                        return self.fail(format!("machine {m}: {why}"));
                    }
                    let resume = self.stop_between(m, end);
                    if resume > self.now + LONG {
                        let machine = &mut self.machines[m];
                        machine.busy_until = resume;
                        machine.next_turn = None;
                        return self.want_turn(m, resume);
                    }
                    at = resume;
                }
                Progress::Done(pause) => return self.turn_done(m, end, pause),
                Progress::Ended => {
                    self.trace
                        .say(end, || format!("m{m} ends as it was asked to"));
                    return self.kill(m, end, false);
                }
            }
        }
    }

    /// Before the first step of a turn: what the poller has to say, and whether it will be stopped.
    fn begin_turn(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        let node = machine.node.as_mut().expect("a running process");
        if node.in_turn {
            return;
        }
        node.in_turn = true;
        self.turns += 1;
        let notes = std::mem::take(&mut machine.kernel.borrow_mut().notes);
        let has_commands = notes.iter().any(|(_, r)| r.readable);
        for (key, readiness) in notes {
            node.server.note(key, readiness);
        }
        if !self.healed && self.plan.stop_p > 0.0 && self.rng.chance(self.plan.stop_p) {
            let lasts = length(Fault::Stop, self.plan.t(), &mut self.rng);
            machine.stop_next = Some((Stop::Readings(self.rng.below(4) as u32), lasts));
        }
        match machine.stop_next {
            Some((Stop::Phases(after), lasts)) => {
                node.stop_after = Some((after, lasts));
                machine.stop_next = None;
            }
            Some((Stop::Readings(after), lasts)) if has_commands => {
                node.clock.stop(after, lasts);
                machine.stop_next = None;
            }
            _ => {}
        }
    }

    /// One step of the server, and what comes out of it. None: the process is gone.
    fn step(&mut self, m: usize, at: True) -> Option<(Progress, True)> {
        let sync_time = self.sync_time(m, at);
        let machine = &mut self.machines[m];
        machine.disk.set_sync_time(sync_time);
        let node = machine.node.as_mut()?;
        node.clock.begin(at);
        let ended = guarded(|| node.server.step());
        let end = node.clock.end();
        if end > at + MS {
            let ms = (end - at) / MS;
            self.trace
                .say(at, || format!("m{m} is stopped in its turn for {ms} ms"));
        }
        match self.machines[m].as_crash(ended) {
            Ended::Fine(progress) => {
                if let Err(why) = self.look_before_it_tells(m) {
                    self.fail(format!("machine {m}: {why}"));
                    return None;
                }
                self.carry(m, end);
                self.machines[m].node.is_some().then_some((progress, end))
            }
            Ended::Stopped(why) => {
                self.ended(m, end, &Ended::<()>::Stopped(why), "a turn");
                None
            }
            ended => {
                self.ended(m, end, &ended, "a turn");
                None
            }
        }
    }

    /// What a sync takes that a thread waits for.
    fn sync_time(&mut self, m: usize, at: True) -> u64 {
        let slow = self.machines[m].slow_until.saturating_sub(at);
        slow + self.rng.around(self.plan.sync_us * US)
    }

    /// When the turn goes on after a step that ended at `end`.
    fn stop_between(&mut self, m: usize, end: True) -> True {
        let node = self.machines[m].node.as_mut().expect("it runs");
        match node.stop_after {
            Some((0, lasts)) => {
                node.stop_after = None;
                self.trace.say(end, || {
                    format!("m{m} is stopped between two phases for {} ms", lasts / MS)
                });
                end + lasts
            }
            Some((left, lasts)) => {
                node.stop_after = Some((left - 1, lasts));
                end
            }
            None => end,
        }
    }

    fn turn_done(&mut self, m: usize, end: True, pause: Pause) {
        let machine = &mut self.machines[m];
        let node = machine.node.as_mut().expect("it runs");
        node.in_turn = false;
        machine.busy_until = end + 2 * US;
        let more = !machine.kernel.borrow().notes.is_empty()
            || !machine.kernel.borrow().done.is_empty()
            || !machine.wires.borrow().event.is_empty();
        let wake = {
            let clock = machine.clock.borrow();
            clock.when(clock.mono(end) + pause.patience)
        };
        let wake = if more { end } else { wake.max(end + 10 * US) };
        self.want_turn(m, wake);
        self.look(m, end);
    }

    /// S2: what the bus shows of this node is the record as of what is applied.
    fn look_after(&mut self, m: usize, phase: Phase) -> Result<(), String> {
        let node = self.machines[m].node.as_ref().expect("it runs");
        if node.cluster().bus().self_state().shard == ShardId::default() {
            return Err("S2: the bus speaks before it shows the record".to_owned());
        }
        if phase != Phase::Settle {
            return Ok(());
        }
        shown(node)
    }

    // ---- the thread of the witnesses --------------------------------------------------------

    pub fn witness_turn(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        if machine.next_witness_turn != Some(self.now) || machine.node.is_none() {
            return;
        }
        machine.next_witness_turn = None;
        if machine.busy_until > self.now {
            return self.want_witness_turn(m, self.now);
        }
        let mut at = self.now;
        loop {
            let Some((more, end)) = self.witness_step(m, at) else {
                return;
            };
            if more && end <= self.now + LONG {
                at = end;
                continue;
            }
            let machine = &mut self.machines[m];
            let node = machine.node.as_ref().expect("it runs");
            let deadline = node.witnesses.deadline();
            let deadline = deadline.map(|at| machine.clock.borrow().when(at).max(end + 10 * US));
            let queued = more || !machine.wires.borrow().for_witnesses.is_empty();
            if queued {
                self.want_witness_turn(m, end);
            } else if let Some(at) = deadline {
                self.want_witness_turn(m, at);
            }
            return self.look(m, end);
        }
    }

    fn witness_step(&mut self, m: usize, at: True) -> Option<(bool, True)> {
        let sync_time = self.sync_time(m, at);
        let machine = &mut self.machines[m];
        machine.disk.set_sync_time(sync_time);
        let wires = std::rc::Rc::clone(&machine.wires);
        let node = machine.node.as_mut()?;
        node.witness_clock.begin(at);
        let (witnesses, clock) = (&mut node.witnesses, &node.witness_clock);
        let mut next = || wires.borrow_mut().for_witnesses.pop_front();
        let ended = guarded(|| Ok::<_, String>(witnesses.step(clock, &mut next)));
        let end = node.witness_clock.end();
        match machine.as_crash(ended) {
            Ended::Fine(more) => {
                let frames = {
                    let node = machine.node.as_mut().expect("it runs");
                    machine.wires.borrow().hosted.set(node.witnesses.len());
                    node.witnesses.take_outgoing()
                };
                for frame in frames {
                    match frame.back {
                        true => self.send_answer(m, end, frame.to, frame.bytes),
                        false => self.send_frame(m, end, frame.to, frame.bytes),
                    }
                }
                Some((more, end))
            }
            ended => {
                self.ended(m, end, &ended, "a turn of its witnesses");
                None
            }
        }
    }
}

/// S2.
fn shown(node: &Node) -> Result<(), String> {
    use cluster_bus::bus::NodeRole;
    let core = node.cluster();
    let shard: &Shard<SimDisk> = node.shard();
    let shown = core.bus().self_state();
    let record = shard.record();
    if core.is_joining() {
        if !shown.slots.is_empty() {
            return Err("C1: a joining node shows slots".to_string());
        }
        return Ok(());
    }
    let role = match record.master {
        master if master == core.myself() => NodeRole::Master,
        master => NodeRole::Slave(master),
    };
    let same = shown.role == role
        && shown.slots == record.slots
        && shown.config_epoch == record.epoch
        && shown.shard == record.shard;
    if same {
        return Ok(());
    }
    Err(format!(
        "S2: the bus shows {:?} epoch {} with {} slots; the applied record has {role:?} epoch {} with {}",
        shown.role,
        shown.config_epoch,
        shown.slots.len(),
        record.epoch,
        record.slots.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Topology;
    use crate::trace::Lines;

    /// Committed entries in a member's log that the checks have not seen; and steps in which some came.
    fn unseen_after_steps(w: &mut World, m: usize) -> (u64, u64) {
        let written = |n: &Node| n.shard().group().commit().min(n.shard().log().last_index());
        let commit = |w: &World| w.node(m).map_or(0, written);
        let (mut unseen, mut came) = (0, 0);
        loop {
            let before = commit(w);
            w.begin_turn(m);
            let Some((progress, end)) = w.step(m, w.now) else {
                return (unseen, came);
            };
            came += u64::from(commit(w) > before);
            let group = w.node(m).expect("it runs").shard().identity().group;
            if w.groups.contains(&group) {
                unseen += commit(w).saturating_sub(w.checks.seen_committed(group));
            }
            if let Progress::Done(pause) = progress {
                w.turn_done(m, end, pause);
                return (unseen, came);
            }
        }
    }

    #[test]
    fn members_are_looked_at_before_they_tell() {
        let mut w = World::new(Topology::Moves, 3, Lines::None);
        w.form();
        let mut all = (0, 0);
        for _ in 0..300 {
            let soon = w.now + MS;
            w.until(soon, |_| false);
            for m in 0..w.machines.len() {
                if w.node(m).is_some() && w.machines[m].busy_until <= w.now {
                    let (unseen, came) = unseen_after_steps(&mut w, m);
                    all = (all.0 + unseen, all.1 + came);
                }
            }
        }
        assert_eq!(w.failure, None);
        assert!(all.1 > 0, "nothing has committed");
        assert_eq!(all.0, 0, "committed and not seen, when others may be told");
    }
}
