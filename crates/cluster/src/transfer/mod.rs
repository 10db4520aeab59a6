//! P15-P17: states on their way from a member that has one to a member behind the log.
//!
//! Owns both ends of a transfer ([`receive`], [`send`]) and the tickets of the works that the disk does for
//! them. Never decides whether a state is installed (the shard does), and never makes one.
//!
//! Two limits keep a transfer out of the way: pieces travel on the bulk link, where neither heartbeats nor votes
//! are, at most 1 MiB of them at once to a member; and the disk works on a thread of its own.

pub(crate) mod message;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use super::Cluster;
use base::clock::Mono;
use base::ids::{GroupId, RaftId};
use cluster_bus::NodeId;
use message::Message;
use receive::{Fault, Receiver};
use send::{Sender, Want};
use shard::{OfferedCheck, Shard};
use std::collections::BTreeMap;
use storage::base::MemberKind;
use storage::{Disk, SnapshotError, TransferDone, TransferFile, TransferWork, Transferred};

/// What a work is for.
#[derive(Clone, Copy, Debug)]
enum Ticket {
    Write { pull: u64, offset: u64 },
    Check { pull: u64 },
    Abandon,
    Read(Want),
}

#[derive(Debug, Default)]
pub(super) struct Transfers {
    receiver: Receiver,
    sender: Sender,
    tickets: BTreeMap<u64, Ticket>,
    last_ticket: u64,
}

impl Transfers {
    /// Another shard has taken the place of the present one: its folder is gone.
    pub fn begin_anew(&mut self) {
        *self = Transfers {
            last_ticket: self.last_ticket,
            ..Transfers::default()
        };
    }

    pub fn deadline(&self) -> Option<Mono> {
        let both = [self.receiver.deadline(), self.sender.deadline()];
        both.into_iter().flatten().min()
    }

    /// Bytes that have come of a state that is pulled, and how many it has.
    pub fn progress(&self) -> Option<(u64, u64)> {
        self.receiver.progress()
    }

    fn order<D: Disk>(
        &mut self,
        ticket: Ticket,
        of: TransferFile,
        work: TransferWork,
        shard: &mut Shard<D>,
    ) {
        self.last_ticket += 1;
        self.tickets.insert(self.last_ticket, ticket);
        shard.order_transfer(self.last_ticket, of, work);
    }
}

impl Cluster {
    /// Bytes that have come of the state that this member pulls, and how many it has.
    pub fn pulled(&self) -> Option<(u64, u64)> {
        self.transfers.progress()
    }

    /// A message about a state, which that node is proved to have sent.
    pub(super) fn hear_of_state<D: Disk>(
        &mut self,
        from: NodeId,
        message: Message,
        shard: &mut Shard<D>,
    ) {
        let id = *shard.identity();
        let mine = |raft_id: RaftId| raft_id == id.raft_id;
        match message {
            Message::Offer { term, first, base } => {
                let event = receive::Event::Offer {
                    from,
                    term,
                    first,
                    base,
                };
                self.step_receiver(event, shard);
            }
            Message::Piece {
                of,
                raft_id,
                offset,
                crc32c,
                bytes,
            } if mine(raft_id) => {
                let event = receive::Event::Piece {
                    from,
                    of,
                    offset,
                    crc32c,
                    bytes,
                };
                self.step_receiver(event, shard);
            }
            Message::NoState { of, raft_id } if mine(raft_id) => {
                self.step_receiver(receive::Event::NoState { from, of }, shard);
            }
            Message::Piece { .. } | Message::NoState { .. } => {}
            other => {
                if let Some(event) = for_sender(from, id.group, other) {
                    self.step_sender(event, shard);
                }
            }
        }
    }

    /// What the disk has done, and what time demands; `looks`: it is time to look which members are behind.
    pub(super) fn follow_transfers<D: Disk>(&mut self, shard: &mut Shard<D>, looks: bool) {
        for done in shard.take_transferred() {
            self.transferred(done, shard);
        }
        // A folder that was opened anew says nothing of what was under way before.
        if self.transfers.tickets.len() > shard.transfers_under_way() {
            self.transfers.tickets.clear();
            self.step_receiver(receive::Event::Anew, shard);
            self.step_sender(send::Event::Anew, shard);
        }
        // Most turns have nothing to do with a state, and pay for none.
        let now = self.now.mono;
        if looks || self.transfers.deadline().is_some_and(|at| now >= at) {
            self.step_receiver(receive::Event::Turn, shard);
            self.step_sender(send::Event::Turn, shard);
        }
        if looks {
            let matched = |raft_id| shard.matched_far_behind(raft_id);
            let gives = self.transfers.sender.gives(now, &matched);
            shard.hold_base(gives);
        }
    }

    fn transferred<D: Disk>(&mut self, done: TransferDone, shard: &mut Shard<D>) {
        let TransferDone { ticket, result } = done;
        let Some(ticket) = self.transfers.tickets.remove(&ticket) else {
            return; // of a folder that was opened anew
        };
        let result = result.map_err(fault);
        match ticket {
            Ticket::Write { pull, offset } => {
                let result = result.map(drop);
                let event = receive::Event::Written {
                    pull,
                    offset,
                    result,
                };
                self.step_receiver(event, shard);
            }
            Ticket::Check { pull } => {
                let result = result.map(drop);
                self.step_receiver(receive::Event::Checked { pull, result }, shard);
            }
            // What could not be removed goes at the next start.
            Ticket::Abandon => {}
            Ticket::Read(want) => {
                let result = result.and_then(|done| match done {
                    Transferred::Read(piece) => Ok(piece),
                    other => Err(Fault::Bad(format!("no read: {other:?}"))),
                });
                self.step_sender(send::Event::Read { want, result }, shard);
            }
        }
    }

    fn step_receiver<D: Disk>(&mut self, event: receive::Event, shard: &mut Shard<D>) {
        let id = *shard.identity();
        let facts = receive::Facts {
            now: self.now.mono,
            t: shard.group().election_timeout(),
            group: id.group,
            me: id.raft_id,
            term: shard.group().term(),
            leader: self.leader_node(shard),
            commit: shard.committed(),
            lacks: &|at| shard.lacks_state(at),
            is_installing: shard.is_installing(),
        };
        for output in self.transfers.receiver.step(event, &facts) {
            match output {
                receive::Output::Tell { to, message } => self.out.state(to, &message),
                receive::Output::Write {
                    pull,
                    of,
                    offset,
                    bytes,
                } => {
                    let work = TransferWork::Write { offset, bytes };
                    let ticket = Ticket::Write { pull, offset };
                    self.transfers.order(ticket, of, work, shard);
                }
                receive::Output::Check { pull, of } => {
                    let check = Box::new(OfferedCheck::new(id.group, of.at, of.file));
                    let work = TransferWork::Finish { check };
                    self.transfers
                        .order(Ticket::Check { pull }, of, work, shard);
                }
                receive::Output::Abandon { of } => {
                    let work = TransferWork::Abandon;
                    self.transfers.order(Ticket::Abandon, of, work, shard);
                }
                receive::Output::Install(snapshot) => {
                    // False: it waits for what it has begun, or has it meanwhile; it is told again.
                    shard.install(*snapshot);
                }
                receive::Output::Warn(text) => self.warn(|| text),
            }
        }
    }

    fn step_sender<D: Disk>(&mut self, event: send::Event, shard: &mut Shard<D>) {
        // P12: a witness that is offered a state may begin anew at any moment from now on.
        let first = shard.snapshot_meta().index + 1;
        for (raft_id, _) in shard.group().behind_the_log() {
            shard.witness_begins(raft_id, first);
        }
        let group = shard.group();
        let list = &group.membership().list;
        let member = |id: RaftId| list.iter().find(|m| m.raft_id == id);
        let behind = group.behind_the_log().into_iter();
        let behind: Vec<_> = behind
            .filter_map(|(id, _)| Some((id, member(id)?.node)))
            .collect();
        // A witness takes the members from the offer, and no file (P13).
        let may_pull =
            |id, node| member(id).is_some_and(|m| m.node == node && m.kind == MemberKind::Data);
        let facts = send::Facts {
            now: self.now.mono,
            t: group.election_timeout(),
            group: shard.identity().group,
            term: group.term(),
            base: shard.base(),
            first: shard.base().log_before().index + 1,
            behind: &behind,
            may_pull: &may_pull,
            rate: self.config.options.snapshot_rate,
        };
        for output in self.transfers.sender.step(event, &facts) {
            match output {
                send::Output::Tell { to, message } => self.out.state(to, &message),
                send::Output::Read { want, file } => {
                    let offset = want.offset;
                    let work = TransferWork::Read { offset };
                    self.transfers.order(Ticket::Read(want), file, work, shard);
                }
                send::Output::Report { raft_id, has_it } => shard.report_state(raft_id, has_it),
                send::Output::Warn(text) => self.warn(|| text),
            }
        }
    }
}

/// What a member behind the log says, of this group.
fn for_sender(from: NodeId, own: GroupId, message: Message) -> Option<send::Event> {
    Some(match message {
        Message::Pull {
            of,
            raft_id,
            offset,
        } => send::Event::Pull {
            from,
            of,
            raft_id,
            offset,
        },
        Message::Pulling {
            group,
            raft_id,
            at,
            received,
        } if group == own => send::Event::Pulling {
            from,
            raft_id,
            at,
            received,
        },
        Message::HasState { group, raft_id, at } if group == own => {
            send::Event::HasState { from, raft_id, at }
        }
        _ => return None,
    })
}

fn fault(error: SnapshotError) -> Fault {
    match error.is_full() {
        true => Fault::Full(error.to_string()),
        false => Fault::Bad(error.to_string()),
    }
}
