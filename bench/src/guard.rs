//! What ends with the benchmark, however it ends: all that it started, and its temporary folder.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::processes::Failed;

/// As shells have it for what Ctrl-C or SIGTERM has ended.
const INTERRUPTED: u8 = 130;

/// Runs this program again, with `inside` as one more flag, in a process group and with a temporary folder of its own.
pub(crate) fn run_again(inside: &str) -> Result<ExitCode, Failed> {
    let name = format!("weir-bench-{}", std::process::id());
    // What is measured on a disk is to be on one: a system's temporary folder may be memory.
    let folder = match std::env::var_os("TMPDIR") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => std::env::current_exe()?.with_file_name(name),
    };
    fs::create_dir(&folder)?;
    let ended = again(inside, folder.as_os_str());
    fs::remove_dir_all(&folder)?;
    Ok(ended?)
}

fn again(inside: &str, folder: &OsStr) -> io::Result<ExitCode> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = tokio.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).arg(inside).env("TMPDIR", folder).process_group(0);
        let mut child = command.spawn()?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let ended = tokio::select! {
            ended = tokio::task::spawn_blocking(move || child.wait()) => Some(ended??),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        if let Some(group) = group {
            // None is left if all went well.
            let _ = kill_process_group(group, Signal::KILL);
        }
        Ok(ended)
    });
    tokio.shutdown_background();
    ended.map(|ended| match ended {
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::from(INTERRUPTED),
    })
}
