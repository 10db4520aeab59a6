//! A server process on a free port with a folder of its own, killed when dropped.
//!
//! The binary is `HOLDFAST_BIN` when set (so the tests themselves can be tried against a
//! `redis-server`), else the one cargo built for this test run.

use super::resp::Client;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A debug build on a busy two-core machine may need long to start; a hang must still end.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

pub fn binary() -> PathBuf {
    match std::env::var_os("HOLDFAST_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_holdfast-server")),
    }
}

/// The tool beside the server; other tests of a workspace may not have built it.
pub fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| {
        if let Some(path) = std::env::var_os("HOLDFAST_TOOL") {
            return PathBuf::from(path);
        }
        let server = Path::new(env!("CARGO_BIN_EXE_holdfast-server"));
        let folder = server.parent().expect("a folder of binaries");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "-p", "tool", "--profile", profile])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("cargo runs").success(), "the tool is built");
        folder.join("holdfast")
    })
}

/// Whether the binary under test is ours: some tests make no sense for a `redis-server`.
pub fn is_holdfast() -> bool {
    let out = Command::new(binary())
        .arg("--help")
        .output()
        .expect("the server binary runs");
    let text = [out.stdout, out.stderr].concat();
    String::from_utf8_lossy(&text)
        .to_lowercase()
        .contains("holdfast")
}

/// A port nobody listens on, below the range from which outgoing connections take theirs.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    for _ in 0..5000 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + ((pid.wrapping_mul(131)).wrapping_add(n * 7) % 10_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 12000 and 22000");
}

/// How to start a server.
#[derive(Clone)]
pub struct Options {
    pub bin: PathBuf,
    pub dir: Option<PathBuf>,
    pub args: Vec<String>,
    pub password: Option<String>,
    /// A configuration file, given before the directives.
    pub conf: Option<PathBuf>,
    /// Where standard output goes, in `dir` or in `output_in`.
    pub out_name: &'static str,
    pub output_in: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            bin: binary(),
            dir: None,
            args: Vec::new(),
            password: None,
            conf: None,
            out_name: "server.out",
            output_in: None,
        }
    }
}

impl Options {
    pub fn new(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::default();
        for (directive, value) in pairs {
            options.args.push(format!("--{directive}"));
            options.args.push((*value).to_string());
        }
        options
    }

    pub fn bin(mut self, bin: impl Into<PathBuf>) -> Self {
        self.bin = bin.into();
        self
    }

    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_path_buf());
        self
    }

    pub fn conf(mut self, path: &Path) -> Self {
        self.conf = Some(path.to_path_buf());
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.args.extend(["--requirepass".into(), password.into()]);
        self.password = Some(password.into());
        self
    }

    pub fn start(self) -> Server {
        Server::start(self)
    }
}

pub struct Server {
    pub port: u16,
    pub pid: u32,
    options: Options,
    child: Child,
    temp: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts with the log synced before every reply, in a fresh folder.
    pub fn fresh() -> Server {
        Options::new(&[("appendfsync", "always")]).start()
    }

    pub fn start(mut options: Options) -> Server {
        let temp = match options.dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().expect("a temporary folder")),
        };
        if let Some(temp) = &temp {
            options.dir = Some(temp.path().to_path_buf());
        }
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(&options, port).expect("the server binary starts");
            match wait_ready(&mut child, port, &options) {
                Ok(()) => {
                    return Server {
                        port,
                        pid: child.id(),
                        options,
                        child,
                        temp,
                    }
                }
                Err(why) if why.to_lowercase().contains("in use") => {}
                Err(why) => {
                    let log = output_of(&options);
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("the server did not come up: {why}\n--- its output ---\n{log}");
                }
            }
        }
        panic!("five ports in a row were taken");
    }

    /// Starts a server that is expected to refuse: its exit status and what it printed.
    pub fn start_refused(mut options: Options) -> (ExitStatus, String) {
        let dir = options.dir.clone().expect("the caller names the folder");
        options.out_name = "refused.out"; // the folder may be that of a running server
        let mut child = spawn(&options, free_port()).expect("the server binary starts");
        let end = Instant::now() + START_DEADLINE;
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return (status, output_of(&options));
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server in {} came up, but must refuse", dir.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn dir(&self) -> &Path {
        self.options.dir.as_deref().expect("set at start")
    }

    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.port).expect("the server accepts connections");
        if let Some(password) = &self.options.password {
            assert!(client.cmd(&["AUTH", password]).is_ok());
        }
        client
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the pid is that of our own child, which has not been waited for.
        let rc = unsafe { libc::kill(self.pid as i32, signal) };
        assert_eq!(rc, 0, "kill: {}", io::Error::last_os_error());
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "still running after {deadline:?}\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again in the same folder (on another port); the old process must have ended.
    pub fn restart(mut self) -> Server {
        self.kill9();
        let temp = self.temp.take();
        let mut server = Server::start(self.options.clone());
        server.temp = temp;
        server
    }

    pub fn output(&self) -> String {
        output_of(&self.options)
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("alive");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS:"))
            .expect("VmRSS is listed");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a size");
        kib * 1024
    }

    /// A field of INFO, as text.
    pub fn info(&self, field: &str) -> Option<String> {
        let text = self.client().cmd(&["INFO"]).text();
        info_field(&text, field)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let text = self.output();
            let from = text.lines().count().saturating_sub(12);
            let tail = text.lines().skip(from).collect::<Vec<_>>().join("\n");
            eprintln!("--- output of the server on port {} ---\n{tail}", self.port);
        }
    }
}

pub fn info_field(info: &str, field: &str) -> Option<String> {
    info.lines().find_map(|l| {
        l.strip_prefix(field)?
            .strip_prefix(':')
            .map(|v| v.trim().to_string())
    })
}

fn output_path(options: &Options) -> PathBuf {
    let elsewhere = options.output_in.as_deref();
    elsewhere
        .or(options.dir.as_deref())
        .expect("set at start")
        .join(options.out_name)
}

fn output_of(options: &Options) -> String {
    let bytes = std::fs::read(output_path(options)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn spawn(options: &Options, port: u16) -> io::Result<Child> {
    let dir = options.dir.as_deref().expect("set at start");
    let out = File::create(output_path(options))?;
    Command::new(&options.bin)
        .args(&options.conf)
        .args(["--port", &port.to_string(), "--dir"])
        .arg(dir)
        // Redis needs to be told to keep a log; ours always does and accepts both.
        .args(["--appendonly", "yes", "--save", ""])
        .args(&options.args)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
}

/// Waits until the server answers, and makes sure that it is this child which does: another
/// test's server may have taken the port first.
fn wait_ready(child: &mut Child, port: u16, options: &Options) -> Result<(), String> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Err(format!("it ended with {status}: {}", output_of(options)));
        }
        if let Ok(pid) = answering_pid(port, options) {
            if pid == child.id() {
                return Ok(());
            }
        }
        if Instant::now() > end {
            return Err(format!("no answer within {START_DEADLINE:?}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answering_pid(port: u16, options: &Options) -> Result<u32, String> {
    let mut client = Client::connect(port).map_err(|e| e.to_string())?;
    if let Some(password) = &options.password {
        client
            .try_cmd(&["AUTH", password])
            .map_err(|e| e.to_string())?;
    }
    // Keyed commands must work too: a loading server, or one without a leader, is not ready.
    let reply = client
        .try_cmd(&["EXISTS", "ready?"])
        .map_err(|e| e.to_string())?;
    // A node of a cluster that has no slots is as ready as it can be.
    let is_unassigned = || reply.text() == "CLUSTERDOWN Hash slot not served";
    if reply.is_error() && !is_unassigned() {
        return Err(reply.text());
    }
    let info = client
        .try_cmd(&["INFO", "server"])
        .map_err(|e| e.to_string())?;
    if info.is_error() {
        return Err(info.text());
    }
    info_field(&info.text(), "process_id")
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| "INFO server has no process_id".into())
}
