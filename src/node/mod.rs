//! The driver of a node (being written: this waits for the signal that ends the process).

use crate::process::Launch;
use std::process::ExitCode;
use std::sync::mpsc;

/// Runs until the process is asked to end.
pub fn run(launch: Launch) -> ExitCode {
    let (wake, woken) = mpsc::channel();
    launch.shutdown.on_signal(move || {
        // The receiver lives as long as this function, and nobody cares after that.
        let _ = wake.send(());
    });
    let _ = woken.recv();
    ExitCode::SUCCESS
}
