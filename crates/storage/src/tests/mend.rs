//! Logs that recovery refuses, and are cut.

use super::damage::synced_log;
use super::*;
use crate::mend::{CantMend, Plan, Step};
use crate::recover::{examine, find_files};
use crate::segment::DATA;
use crate::survey::{FileKind, Survey};
use crate::trial::TrialDisk;
use std::fs;

fn segments(disk: &TestDisk) -> Vec<String> {
    let names = disk.names().into_iter();
    names.filter(|n| n.ends_with(".seg")).collect()
}

fn bytes_of(disk: &TestDisk, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; disk.len_of(name)];
    disk.open(name).unwrap().read_at(&mut bytes, 0).unwrap();
    bytes
}

fn cut_short(disk: &TestDisk, name: &str, len: usize) {
    let bytes = bytes_of(disk, name);
    disk.create(name)
        .unwrap()
        .write_at(&bytes[..len], 0)
        .unwrap();
}

/// One change that recovery refuses, mostly.
fn hurt(run: &mut Run) {
    let names = segments(&run.disk);
    let name = names[run.rng.gen_range(0..names.len())].clone();
    let len = run.disk.len_of(&name);
    match run.rng.gen_range(0..4) {
        0 => run.disk.damage(&name, 20, |b| b ^ 1),
        1 => cut_short(
            &run.disk,
            &name,
            run.rng.gen_range(segment::DATA as usize..len),
        ),
        2 => run.disk.remove(&name).unwrap(),
        _ => {
            let at = run.rng.gen_range(DATA as usize..len);
            run.disk.damage(&name, at, |b| b ^ 0x10);
        }
    }
}

/// The plan says before what recovery finds behind, and no entry that stays is another one.
#[test]
fn cut_log_is_taken_with_a_prefix_of_its_entries() {
    let (mut cut, mut kept) = (0, 0);
    for seed in 0..400 {
        let mut run = synced_log(seed);
        let all = run.past.last().unwrap().state.entries.clone();
        hurt(&mut run);
        let before = run.disk.names();
        let plan = match Plan::make(&run.disk) {
            Ok(plan) => plan,
            Err(CantMend::Sound) => {
                Log::open(run.disk.clone(), config()).unwrap();
                continue;
            }
            Err(CantMend::Other(_)) => {
                assert_eq!(
                    run.disk.names().len(),
                    before.len(),
                    "nothing is lost with it"
                );
                continue;
            }
        };
        let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
        assert_eq!(log.last_index(), plan.last, "seed {seed}");
        assert_eq!(recovered.cut, None);
        let left = read_all(&log).unwrap();
        let same = all.iter().zip(&left).filter(|(a, b)| a == b).count();
        // An entry of an earlier term may stand where a later one, now lost, had replaced it.
        assert!(
            plan.loses_committed() || same == all.len(),
            "seed {seed}: {plan:?}"
        );
        cut += 1;
        kept += usize::from(!plan.loses_committed());
        let names = run.disk.names();
        let aside = plan
            .steps
            .iter()
            .filter(|s| !matches!(s, Step::Lengthen { .. }));
        let of_hand = names.iter().filter(|n| FileKind::of(n) == FileKind::Kept);
        assert_eq!(aside.count(), of_hand.count(), "all that was cut is kept");
    }
    assert!(cut > 100 && kept > 10, "{cut} {kept}");
}

/// A crash may leave segments below the start: what is wrong with one costs nothing.
#[test]
fn damage_below_the_start_costs_nothing() {
    let mut tried = 0;
    for seed in 0..40 {
        let run = synced_log(seed);
        let mut base = base();
        let found = find_files(&run.disk, &base).unwrap();
        let examined = examine(&run.disk, &base, found.segments).unwrap();
        let Some(first) = examined.segments.get(2).and_then(|s| s.first) else {
            continue;
        };
        let index = first.next - 1;
        let term = |index| examined.walk.index.term(index);
        let (Some(before), Some(at)) = (term(index), term(index + 1)) else {
            continue;
        };
        let cuts = examined.walk.index.cuts_after(first.position);
        if cuts.iter().any(|cut| cut.1 <= index) {
            continue; // P10: the log may not begin there
        }
        base.start = Some(LogStart {
            position: first.position,
            chain: first.chain,
            before: EntryId {
                index,
                term: before,
            },
        });
        (base.snapshot.index, base.snapshot.term) = (index + 1, at);
        base.save(&run.disk).unwrap();
        let last = Survey::new(&run.disk, &base).unwrap().last();
        let name = "00000000000000000001.seg";
        run.disk.damage(name, 20, |b| b ^ 1);
        let plan = Plan::make(&run.disk).unwrap();
        let file = name.to_owned();
        assert_eq!(
            (plan.steps.clone(), plan.last),
            (vec![Step::Aside { file }], last)
        );
        assert!(!plan.loses_committed(), "{plan:?}");
        let (log, _) = Log::open(run.disk.clone(), config()).unwrap();
        assert_eq!(log.last_index(), last);
        tried += 1;
    }
    assert!(tried > 5, "{tried}");
}

/// What a real folder and one that only tries things make of the same steps.
#[test]
fn trial_of_a_cut_is_what_the_cut_does() {
    for seed in 0..30 {
        let mut run = synced_log(seed);
        hurt(&mut run);
        let folder = tempfile::tempdir().unwrap();
        for name in run.disk.names() {
            fs::write(folder.path().join(&name), bytes_of(&run.disk, &name)).unwrap();
        }
        let there = |folder: &std::path::Path| {
            let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
                .unwrap()
                .flatten()
                .map(|e| {
                    (
                        e.file_name().into_string().unwrap(),
                        fs::read(e.path()).unwrap(),
                    )
                })
                .collect();
            all.sort();
            all
        };
        let before = there(folder.path());
        let trial = TrialDisk::new(folder.path(), |_| {});
        let plan = Plan::make(&trial);
        assert_eq!(there(folder.path()), before, "a trial changes nothing");
        let Ok(plan) = plan else { continue };
        let (tried, _) = Log::open(trial, config()).unwrap();
        let real = RealDisk::new(folder.path());
        for step in &plan.steps {
            step.take(&real).unwrap();
        }
        let (log, _) = Log::open(real, config()).unwrap();
        assert_eq!((log.end(), log.last_index()), (tried.end(), plan.last));
    }
}

#[test]
fn survey_counts_what_the_log_has() {
    for seed in 0..50 {
        let run = synced_log(seed);
        let survey = Survey::new(&run.disk, &base()).unwrap();
        let state = &run.past.last().unwrap().state;
        assert!(survey.refused.is_none());
        assert_eq!(survey.last(), state.entries.len() as u64 + 1);
        assert_eq!(survey.hard_state, state.hard_state);
        let mut found = Vec::new();
        survey
            .entries((0, u64::MAX), |entry| {
                found.push(entry);
                Ok::<(), StorageError>(())
            })
            .unwrap();
        assert_eq!(found, state.entries);
        let counted: u64 = survey.segments.iter().map(|s| s.tally.entries).sum();
        assert!(counted >= found.len() as u64, "replaced ones count as well");
    }
}
