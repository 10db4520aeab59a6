//! The simulated disk must lose what a real one may lose, and nothing else.

use super::*;

fn bytes(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(name).ok()?;
    let mut buf = vec![0; file.len().expect("a length") as usize];
    let n = file.read_at(&mut buf, 0).expect("readable");
    assert_eq!(n, buf.len());
    Some(buf)
}

fn synced_file(disk: &SimDisk, name: &str, len: u64) -> SimFile {
    let file = disk.create(name).expect("created");
    file.allocate(0, len).expect("room");
    file.sync_data().expect("synced");
    disk.sync_dir().expect("synced");
    file
}

#[test]
fn synced_writes_survive_any_loss_and_unsynced_ones_may_not() {
    let mut lost = 0;
    let mut kept = 0;
    let mut mixed = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(1 << 20);
        let file = synced_file(&disk, "f", 4096);
        file.write_at(&[1; 1000], 100).expect("written");
        file.sync_data().expect("synced");
        file.write_at(&[2; 2000], 2000).expect("written");
        let loss = Loss::any(&mut rng);
        let disk = disk.power_loss(loss, &mut rng);
        let content = bytes(&disk, "f").expect("a synced file is there");
        assert_eq!(content.len(), 4096);
        assert_eq!(content[100..1100], [1; 1000]);
        assert!(content[2000..4000].iter().all(|b| *b == 0 || *b == 2));
        match content[2000..4000].iter().filter(|b| **b == 2).count() {
            0 => lost += 1,
            2000 => kept += 1,
            _ => mixed += 1,
        }
        assert!(
            file.write_at(&[3], 0).is_err(),
            "a handle of an earlier boot is dead"
        );
    }
    assert!(
        lost > 20 && kept > 20 && mixed > 20,
        "{lost} {kept} {mixed}"
    );
}

#[test]
fn a_killed_process_leaves_its_page_cache() {
    let disk = SimDisk::new(1 << 20);
    let file = synced_file(&disk, "f", 512);
    file.write_at(b"cached", 0).expect("written");
    let disk = disk.process_crash();
    assert_eq!(&bytes(&disk, "f").expect("there")[..6], b"cached");
    // Only the page cache had it.
    let disk = disk.power_loss(Loss::All, &mut Rng::new(1));
    assert_eq!(&bytes(&disk, "f").expect("there")[..6], &[0; 6]);
}

#[test]
fn the_fuse_ends_in_the_middle_of_a_write() {
    let disk = SimDisk::new(1 << 20);
    let file = synced_file(&disk, "f", 512);
    disk.light_fuse(3);
    let died =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| file.write_at(b"abcdef", 0)));
    assert!(died.expect_err("it dies").is::<Crash>());
    assert!(
        file.write_at(b"x", 9).is_err(),
        "nothing happens afterwards"
    );
    let disk = disk.process_crash();
    assert_eq!(&bytes(&disk, "f").expect("there")[..6], b"abc\0\0\0");
}

#[test]
fn a_sync_counts_when_it_ends_and_covers_what_was_written_before_it_began() {
    for ended in [false, true] {
        let disk = SimDisk::new(1 << 20);
        let file = synced_file(&disk, "f", 512);
        file.write_at(b"one", 0).expect("written");
        let (result, ticket) = disk.deferred(|| file.sync_data());
        result.expect("issued");
        file.write_at(b"two", 100).expect("written");
        if ended {
            disk.complete(ticket);
        }
        let disk = disk.power_loss(Loss::All, &mut Rng::new(1));
        let content = bytes(&disk, "f").expect("there");
        assert_eq!(&content[..3], if ended { b"one" } else { &[0; 3] });
        assert_eq!(&content[100..103], &[0; 3]);
    }
}

#[test]
fn a_sync_that_ends_after_the_crash_does_not_count() {
    let disk = SimDisk::new(1 << 20);
    let file = synced_file(&disk, "f", 512);
    file.write_at(b"one", 0).expect("written");
    let (_, ticket) = disk.deferred(|| file.sync_data());
    let disk = disk.power_loss(Loss::All, &mut Rng::new(1));
    disk.complete(ticket);
    let disk = disk.power_loss(Loss::All, &mut Rng::new(1));
    assert_eq!(&bytes(&disk, "f").expect("there")[..3], &[0; 3]);
}

#[test]
fn names_are_durable_only_after_the_folder_is_synced() {
    let disk = SimDisk::new(1 << 20);
    synced_file(&disk, "old", 10);
    disk.create("new")
        .expect("created")
        .sync_data()
        .expect("synced");
    disk.rename("old", "renamed").expect("renamed");
    let lost = disk.power_loss(Loss::All, &mut Rng::new(1));
    assert_eq!(lost.list().expect("listed"), ["old"]);

    let disk = SimDisk::new(1 << 20);
    synced_file(&disk, "old", 10);
    disk.rename("old", "renamed").expect("renamed");
    disk.sync_dir().expect("synced");
    let kept = disk.power_loss(Loss::All, &mut Rng::new(1));
    assert_eq!(kept.list().expect("listed"), ["renamed"]);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = SimDisk::new(1000);
    let file = disk.create("f").expect("created");
    let full = file.allocate(0, 2000).expect_err("no room");
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.used(), 1000, "what fitted was taken");
    file.write_at(&[1; 10], 0)
        .expect("space that is there can be written");
    disk.set_capacity(5000);
    file.allocate(0, 2000).expect("room");
}

#[test]
fn a_failed_sync_leaves_pages_that_only_look_clean() {
    let disk = SimDisk::new(1 << 20);
    let file = synced_file(&disk, "f", 512);
    file.write_at(b"gone", 0).expect("written");
    disk.fail_next_sync();
    assert!(file.sync_data().is_err());
    assert_eq!(&bytes(&disk, "f").expect("there")[..4], b"gone");
    file.sync_data().expect("the next one finds nothing to do");
    file.drop_cache().expect("dropped");
    assert_eq!(&bytes(&disk, "f").expect("there")[..4], &[0; 4]);
}
