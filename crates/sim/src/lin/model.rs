//! The sequential specification that histories are checked against: a handful of registers with
//! expiry times, and the commands that the simulator's clients send.
//!
//! Owns: what a command does to the registers and which replies are right. Never does: search
//! (that is [`super::checker`]).
//!
//! Expiry is modelled by intervals of true time. The deadline that a leader computed lies within
//! `[invoked + ttl - skew, returned + ttl + skew]`; a key with a deadline may be seen absent only
//! by a command that returned after the interval's start, and seen present only by one that was
//! invoked before its end. That is sound (it never calls a correct history wrong) because the
//! command that set the deadline and the one that looks at it each read a wall clock at some
//! moment between their invocation and their return.

/// True (virtual) time in microseconds.
pub type Micros = i64;

/// Later than any moment of a run; far from overflow when a TTL is added.
pub const FOREVER: Micros = i64::MAX / 4;

/// A register's value: clients write unique texts `v<id>` to plain keys and integers to counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Val {
    Text(u64),
    Int(i64),
}

/// When a SET does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    Always,
    Absent,
    Present,
}

/// A command on keys of one group; keys are small numbers within the group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cmd {
    Get {
        key: u8,
    },
    Exists {
        key: u8,
    },
    Set {
        key: u8,
        val: Val,
        ttl_ms: Option<i64>,
        when: When,
    },
    SetNx {
        key: u8,
        val: Val,
    },
    Incr {
        key: u8,
        by: i64,
    },
    Del {
        keys: Vec<u8>,
    },
    Expire {
        key: u8,
        ttl_ms: i64,
    },
    Persist {
        key: u8,
    },
}

/// A reply, as far as the model cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    Nil,
    Ok,
    Val(Val),
    Int(i64),
    /// The error that depends on data: INCR of something that is no integer.
    NotAnInteger,
}

/// What one client operation does in one atomic step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Values that watched keys had when they were read; EXEC succeeded only if they still hold.
    pub guard: Vec<(u8, Option<Val>)>,
    pub cmds: Vec<Cmd>,
}

impl Op {
    pub fn one(cmd: Cmd) -> Op {
        Op {
            guard: Vec::new(),
            cmds: vec![cmd],
        }
    }

    /// True if no execution of it that gives this answer can change a register.
    pub fn changes_nothing(&self, answer: Option<&Answer>) -> bool {
        let Some(answer) = answer else {
            return self.is_read();
        };
        let Some(rets) = answer else {
            return true;
        };
        self.cmds.iter().zip(rets).all(|(cmd, ret)| match cmd {
            Cmd::Get { .. } | Cmd::Exists { .. } => true,
            Cmd::Set { when, .. } => *when != When::Always && *ret == Ret::Nil,
            Cmd::Incr { .. } => *ret == Ret::NotAnInteger,
            Cmd::SetNx { .. } | Cmd::Del { .. } | Cmd::Expire { .. } | Cmd::Persist { .. } => {
                *ret == Ret::Int(0)
            }
        })
    }

    /// True if no execution of it can change a register.
    pub fn is_read(&self) -> bool {
        self.cmds
            .iter()
            .all(|c| matches!(c, Cmd::Get { .. } | Cmd::Exists { .. }))
    }
}

/// One register: its value and the interval in which its deadline lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cell {
    pub val: Option<Val>,
    pub until: Option<(Micros, Micros)>,
}

/// The registers of one key group.
pub type State = Vec<Cell>;

/// The time frame of an operation and the clocks' greatest mutual skew.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub inv: Micros,
    pub ret: Micros,
    pub skew: Micros,
}

impl Span {
    fn deadline(&self, ttl_ms: i64) -> (Micros, Micros) {
        let ttl = ttl_ms * 1000;
        (
            self.inv + ttl - self.skew,
            self.ret.saturating_add(ttl + self.skew).min(FOREVER * 2),
        )
    }
}

/// What came back: `None` is EXEC's nil.
pub type Answer = Option<Vec<Ret>>;

/// All states in which `op` may leave the registers, given that it answered `answer` (or that
/// nobody knows what it answered). Empty: this op cannot take effect here with that answer.
pub fn successors(
    state: &State,
    op: &Op,
    answer: Option<&Answer>,
    span: Span,
    out: &mut Vec<State>,
) {
    out.clear();
    if let Some(None) = answer {
        // EXEC said nil: nothing happened. It may fail for reasons of the server's own, so it is
        // always allowed.
        out.push(state.clone());
        return;
    }
    let mut starts = Vec::with_capacity(2);
    expiry_choices(state, op, span, &mut starts);
    for mut s in starts {
        if op
            .guard
            .iter()
            .any(|(key, val)| s[*key as usize].val != *val)
        {
            continue;
        }
        let wanted = answer.and_then(|a| a.as_ref());
        let mut right = wanted.is_none_or(|w| w.len() == op.cmds.len());
        for (i, cmd) in op.cmds.iter().enumerate() {
            if !right {
                break;
            }
            let got = apply(&mut s, cmd, span);
            right = wanted.is_none_or(|w| w[i] == got);
        }
        if right && !out.contains(&s) {
            out.push(s);
        }
    }
}

/// The registers as `op` may find them: every touched key with a deadline is there, gone, or
/// (between the interval's ends) either.
fn expiry_choices(state: &State, op: &Op, span: Span, out: &mut Vec<State>) {
    out.push(state.clone());
    let mut touched = 0u64;
    for cmd in &op.cmds {
        match cmd {
            Cmd::Del { keys } => keys.iter().for_each(|k| touched |= 1 << k),
            Cmd::Get { key }
            | Cmd::Exists { key }
            | Cmd::Set { key, .. }
            | Cmd::SetNx { key, .. }
            | Cmd::Incr { key, .. }
            | Cmd::Expire { key, .. }
            | Cmd::Persist { key } => touched |= 1 << key,
        }
    }
    op.guard.iter().for_each(|(k, _)| touched |= 1 << k);
    for (key, cell) in state.iter().enumerate() {
        let Some((earliest, latest)) = cell.until else {
            continue;
        };
        if touched & (1 << key) == 0 {
            continue;
        }
        let may_be_gone = span.ret >= earliest;
        let may_be_there = span.inv <= latest;
        let n = out.len();
        for i in 0..n {
            let gone = || {
                let mut s = out[i].clone();
                s[key] = Cell::default();
                s
            };
            match (may_be_there, may_be_gone) {
                (true, true) => {
                    let s = gone();
                    out.push(s);
                }
                (false, _) => out[i] = gone(),
                (true, false) => {}
            }
        }
    }
}

fn apply(state: &mut State, cmd: &Cmd, span: Span) -> Ret {
    match cmd {
        Cmd::Get { key } => state[*key as usize].val.map_or(Ret::Nil, Ret::Val),
        Cmd::Exists { key } => Ret::Int(i64::from(state[*key as usize].val.is_some())),
        Cmd::Set {
            key,
            val,
            ttl_ms,
            when,
        } => {
            let cell = &mut state[*key as usize];
            let go = match when {
                When::Always => true,
                When::Absent => cell.val.is_none(),
                When::Present => cell.val.is_some(),
            };
            if !go {
                return Ret::Nil;
            }
            *cell = Cell {
                val: Some(*val),
                until: ttl_ms.map(|t| span.deadline(t)),
            };
            Ret::Ok
        }
        Cmd::SetNx { key, val } => {
            let cell = &mut state[*key as usize];
            if cell.val.is_some() {
                return Ret::Int(0);
            }
            *cell = Cell {
                val: Some(*val),
                until: None,
            };
            Ret::Int(1)
        }
        Cmd::Incr { key, by } => {
            let cell = &mut state[*key as usize];
            match cell.val {
                Some(Val::Text(_)) => Ret::NotAnInteger,
                Some(Val::Int(n)) => {
                    cell.val = Some(Val::Int(n + by));
                    Ret::Int(n + by)
                }
                None => {
                    *cell = Cell {
                        val: Some(Val::Int(*by)),
                        until: None,
                    };
                    Ret::Int(*by)
                }
            }
        }
        Cmd::Del { keys } => {
            let mut n = 0;
            for key in keys {
                let cell = &mut state[*key as usize];
                n += i64::from(cell.val.is_some());
                *cell = Cell::default();
            }
            Ret::Int(n)
        }
        Cmd::Expire { key, ttl_ms } => {
            let cell = &mut state[*key as usize];
            if cell.val.is_none() {
                return Ret::Int(0);
            }
            if *ttl_ms <= 0 {
                *cell = Cell::default();
            } else {
                cell.until = Some(span.deadline(*ttl_ms));
            }
            Ret::Int(1)
        }
        Cmd::Persist { key } => {
            let cell = &mut state[*key as usize];
            let had = cell.val.is_some() && cell.until.is_some();
            cell.until = None;
            Ret::Int(i64::from(had))
        }
    }
}
