//! Scenes: faults in the one order and at the distance in time in which a rule matters, where
//! chance alone would hardly ever hit it. All lengths are drawn, so a scene often misses too.

use crate::clock::US;
use crate::member::MEMBERS;
use crate::process::Input;
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
}

pub fn step(w: &mut World, step: Step) {
    match step {
        Step::Cut(from, to, lasts) => cut(w, from, to, lasts),
        Step::Stop(m, lasts) => {
            if w.members[m].process.is_some() && w.members[m].in_turn_until <= w.now {
                w.members[m].busy_until = w.now + lasts;
            }
        }
        Step::Restart(m) => {
            if w.members[m].process.is_some() && w.members[m].in_turn_until <= w.now {
                w.members[m].down_for = 0;
                w.kill(m, w.now, false);
            }
        }
        Step::Fuse(m, work) => {
            let member = &mut w.members[m];
            member.power_on_crash = true;
            member.disk.light_fuse(work);
        }
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

/// The member that leads, and the two others in any order.
fn cast(w: &mut World) -> Option<(usize, usize, usize)> {
    let leads = |m: &usize| {
        let process = w.members[*m].process.as_ref();
        process.is_some_and(|p| p.shard.group().is_leader())
    };
    let a = (0..MEMBERS).find(leads)?;
    let b = (a + 1 + w.rng.below(2) as usize) % MEMBERS;
    Some((a, b, MEMBERS - a - b))
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

/// E4, E3: a transfer whose candidate is heard after the leader has given the transfer up. In half
/// of them the third member hears of the giving up, in the others only its old echoes come.
pub fn late_transfer(w: &mut World) {
    let Some((a, b, c)) = cast(w) else { return };
    let (t, now) = (w.plan.t(), w.now);
    let to = w.members[c].raft_id;
    w.members[a].inbox.push(Input::Transfer { to });
    w.want_turn(a, now);
    // A leader gives up after T of its clock, at its next tick; a candidate soon after T of its own.
    let late = w.rng.range(100 * t / 100, 125 * t / 100);
    w.members[a].hold_timeout_now = Some(late);
    if w.rng.chance(0.5) {
        let deaf = now + w.rng.range(7 * t / 10, 9 * t / 10);
        w.at(deaf, Event::Step(Step::Cut(a, b, 3 * t)));
        let mute = now + w.rng.range(5 * t / 10, 8 * t / 10);
        let lasts = (now + late).saturating_sub(mute);
        w.at(mute, Event::Step(Step::Cut(b, a, lasts)));
    }
}

/// The member that `leader` asks to stand is not heard by the third member for so long, and by the
/// leader for longer: it is deposed when it hears of the candidate's term, maybe (T1) at a moment
/// at which commands wait beside the message.
pub fn hold_candidacy(w: &mut World, leader: usize, candidate: usize, lasts: u64) {
    let t = w.plan.t();
    let longer = lasts + w.rng.range(t / 5, 2 * t);
    cut(w, candidate, leader, longer);
    let stop = w.now + longer - t / 40;
    w.at(stop, Event::Step(Step::Stop(leader, t / 20)));
    cut(w, candidate, MEMBERS - leader - candidate, lasts);
}

/// D1: a follower is behind; while it is brought up, in large appends, its power fails.
pub fn power_while_catching_up(w: &mut World) {
    let Some((a, b, _)) = cast(w) else { return };
    let away = w.rng.range(w.plan.t(), 3 * w.plan.t());
    cut_both(w, a, b, away);
    let work = w.rng.around(2 * w.plan.segment);
    w.at(w.now + away, Event::Step(Step::Fuse(b, work)));
}
