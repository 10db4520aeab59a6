//! Scenes: faults in the one order and at the distance in time in which a rule matters, where
//! chance alone would hardly ever hit it. All lengths are drawn, so a scene often misses too.

use crate::clock::US;
use crate::ops::Op;
use crate::world::{Event, World};

/// A step of a scene that is due later.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// One direction is cut for so long.
    Cut(usize, usize, u64),
    /// The process stands still for so long.
    Stop(usize, u64),
    /// The process is killed, and comes back at once.
    Restart(usize),
    /// The machine loses power when so much more has been written.
    Fuse(usize, u64),
    /// A shard takes slots again that it has given up.
    Gain(usize),
}

pub fn step(w: &mut World, step: Step) {
    match step {
        Step::Cut(from, to, lasts) => cut(w, from, to, lasts),
        Step::Stop(m, lasts) => {
            if w.machines[m].node.is_some() {
                w.machines[m].busy_until = w.machines[m].busy_until.max(w.now + lasts);
            }
        }
        Step::Restart(m) => {
            if w.machines[m].node.is_some() {
                w.machines[m].down_for = 0;
                w.kill(m, w.now, false);
            }
        }
        Step::Fuse(m, work) => {
            let machine = &mut w.machines[m];
            machine.power_on_crash = true;
            machine.disk.light_fuse(work);
        }
        Step::Gain(shard) => crate::faults::gain(w, shard),
    }
}

pub fn cut(w: &mut World, from: usize, to: usize, lasts: u64) {
    if w.net.is_cut(from, to) {
        return;
    }
    w.net.cut(from, to);
    w.at(w.now + lasts, Event::Heal(from, to));
}

pub fn cut_both(w: &mut World, a: usize, b: usize, lasts: u64) {
    cut(w, a, b, lasts);
    cut(w, b, a, lasts);
}

/// Of a shard with three voters: the machine that leads, and the two others in any order.
fn cast(w: &mut World) -> Option<(usize, usize, usize)> {
    let shard = w.rng.below(w.plan.shards as u64) as usize;
    let a = w.master_of(shard)?;
    let node = w.node(a)?;
    let me = node.name();
    let list = node.shard().group().membership().list.iter();
    let others: Vec<usize> = list
        .filter(|member| member.node != me)
        .filter_map(|member| {
            let is = |m: &usize| w.machines[*m].name == Some(member.node);
            (0..w.machines.len()).find(is)
        })
        .collect();
    let &[b, c] = others.as_slice() else {
        return None;
    };
    Some(if w.rng.chance(0.5) {
        (a, b, c)
    } else {
        (a, c, b)
    })
}

/// E1: the leader loses one follower, which comes to want a leader, then the other one, which
/// forgets at that moment what it had promised.
pub fn forgetful_follower(w: &mut World) {
    let Some((a, b, c)) = cast(w) else { return };
    let t = w.plan.t();
    cut_both(w, a, c, 3 * t);
    let at = w.now + w.rng.range(11 * t / 10, 16 * t / 10);
    w.at(at, Event::Step(Step::Cut(a, b, 2 * t)));
    w.at(at, Event::Step(Step::Cut(b, a, 2 * t)));
    w.at(at + 10 * US, Event::Step(Step::Restart(b)));
}

/// E4, E3: a TimeoutNow that comes after its leader has given the transfer up. In half of them the
/// third voter has not heard of the giving up, and in some only its old answers come.
pub fn late_transfer(w: &mut World) {
    let Some((a, b, c)) = cast(w) else { return };
    let (t, now) = (w.plan.t(), w.now);
    let is_data = w.shard_of(c) == w.shard_of(a);
    if !is_data {
        return;
    }
    w.op(c, Op::Failover);
    // A leader gives up after T of its clock, at its next tick; a candidate soon after T of its own.
    let late = w.rng.range(100 * t / 100, 160 * t / 100);
    w.machines[a].hold_timeout_now = Some(late);
    let deaf = w.rng.range(7 * t / 10, 11 * t / 10);
    w.at(now + deaf, Event::Step(Step::Cut(a, b, 2 * t)));
    if w.rng.chance(0.4) {
        let mute = now + w.rng.range(5 * t / 10, 8 * t / 10);
        let lasts = (now + late).saturating_sub(mute);
        w.at(mute, Event::Step(Step::Cut(b, a, lasts)));
    }
    if w.rng.chance(0.3) {
        // The candidate's term is heard late: by the third voter, and later still by the leader,
        // maybe (T1) at a moment at which commands wait beside the message.
        let longer = late + w.rng.range(t / 5, 2 * t);
        cut(w, c, a, longer);
        cut(w, c, b, late);
        let stop = now + longer - t / 40;
        w.at(stop, Event::Step(Step::Stop(a, t / 20)));
    }
}

/// D1: a follower is behind; while it is brought up, in large appends, its power fails.
pub fn power_while_catching_up(w: &mut World) {
    let Some((a, b, _)) = cast(w) else { return };
    let away = w.rng.range(w.plan.t(), 3 * w.plan.t());
    cut_both(w, a, b, away);
    let work = w.rng.around(2 * w.plan.segment);
    w.at(w.now + away, Event::Step(Step::Fuse(b, work)));
}
