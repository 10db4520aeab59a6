//! The injector: one fault after another, as the plan weighs them.

use crate::clock::MS;
use crate::member::MEMBERS;
use crate::plan::{length, Fault};
use crate::process::Input;
use crate::scenes::{self, cut, cut_both};
use crate::world::{Event, World};

/// Chooses a fault and a victim and does it.
pub fn inject(w: &mut World) {
    let total: u32 = w.plan.faults.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return;
    }
    let mut at = w.rng.below(u64::from(total)) as u32;
    let faults = w.plan.faults.clone();
    for (fault, weight) in faults {
        if at < weight {
            return apply(w, fault);
        }
        at -= weight;
    }
}

/// Leaders are the more interesting victims.
fn victim(w: &mut World) -> usize {
    if w.rng.chance(0.6) {
        let leads = |m: &usize| {
            w.members[*m]
                .process
                .as_ref()
                .is_some_and(|p| p.shard.group().is_leader())
        };
        let leaders: Vec<usize> = (0..MEMBERS).filter(leads).collect();
        if !leaders.is_empty() {
            return *w.rng.pick(&leaders);
        }
    }
    w.rng.below(MEMBERS as u64) as usize
}

fn other(w: &mut World, m: usize) -> usize {
    (m + 1 + w.rng.below(MEMBERS as u64 - 1) as usize) % MEMBERS
}

fn apply(w: &mut World, fault: Fault) {
    let m = victim(w);
    let lasts = length(fault, w.plan.t(), &mut w.rng);
    let (now, ms) = (w.now, lasts / MS);
    w.trace.mix(fault as u64 * 8 + m as u64);
    w.trace
        .say(now, || format!("fault {fault:?} on m{m} for {ms} ms"));
    let runs = w.members[m].process.is_some() && w.members[m].in_turn_until <= now;
    match fault {
        Fault::Kill | Fault::Power => {
            if runs {
                w.members[m].down_for = lasts;
                w.kill(m, now, fault == Fault::Power);
            }
        }
        Fault::PowerAll => {
            for m in 0..MEMBERS {
                if w.members[m].process.is_some() && w.members[m].in_turn_until <= now {
                    w.members[m].down_for = lasts;
                    w.kill(m, now, true);
                }
            }
        }
        Fault::Fuse => {
            let work = w.rng.around(1500);
            let power = w.rng.chance(0.5);
            let member = &mut w.members[m];
            member.down_for = lasts;
            member.power_on_crash = power;
            member.disk.light_fuse(work);
        }
        Fault::Stop => {
            if runs {
                w.members[m].busy_until = now + lasts;
            }
        }
        Fault::StopInTurn => {
            let after = w.rng.below(5) as u32;
            w.members[m].stop_next = Some((after, lasts));
        }
        Fault::OneWay => {
            let to = other(w, m);
            cut(w, m, to, lasts);
        }
        Fault::Isolate => isolate(w, m, lasts),
        Fault::IsolateClients => {
            for c in 0..w.clients.len() {
                cut_both(w, m, MEMBERS + c, lasts);
            }
        }
        Fault::Break => {
            let to = other(w, m);
            w.net.break_link(now, m, to);
            w.net.break_link(now, to, m);
        }
        Fault::SlowDisk => w.members[m].slow_until = now + lasts,
        Fault::FullDisk => {
            w.members[m].disk.set_capacity(0);
            w.at(now + lasts, Event::Room(m));
        }
        Fault::SyncError => {
            let member = &mut w.members[m];
            if member.process.is_some() {
                member.excused = true;
                member.down_for = lasts;
                member.disk.fail_next_sync();
            }
        }
        Fault::Transfer => transfer(w, m),
        Fault::ForgetfulFollower => scenes::forgetful_follower(w),
        Fault::LateTransfer => scenes::late_transfer(w),
        Fault::PowerWhileCatchingUp => scenes::power_while_catching_up(w),
        Fault::Clock => {
            let mut rng = w.rng.fork();
            w.members[m].clock.change(now, &mut rng);
        }
    }
}

/// Cuts a member off, with some of its clients on its side.
fn isolate(w: &mut World, m: usize, lasts: u64) {
    for other in (0..MEMBERS).filter(|o| *o != m) {
        cut_both(w, m, other, lasts);
        if w.rng.chance(0.3) {
            w.net.break_link(w.now, m, other);
            w.net.break_link(w.now, other, m);
        }
    }
    for c in 0..w.clients.len() {
        if w.rng.chance(0.3) {
            cut_both(w, m, MEMBERS + c, lasts);
        }
    }
}

fn transfer(w: &mut World, m: usize) {
    let to = other(w, m);
    let to = w.members[to].raft_id;
    if w.members[m].process.is_some() {
        w.members[m].inbox.push(Input::Transfer { to });
        w.want_turn(m, w.now);
    }
}
