//! Private servers for tests: PostgreSQL, Redis and NATS, each on a free loopback port with its data in a folder of its own.
//!
//! A server is a direct child of the test, so that a test can kill it (SIGKILL), reap it and start it again on its data. When
//! the test ends in whatever way, a watchdog ends the server and removes the folder. If `CRM_SYNC_POSTGRES_URL`,
//! `CRM_SYNC_REDIS_URL` or `CRM_SYNC_NATS_URL` is set, that server is used instead; it is never killed.
//!
//! On a machine without a server its tests say that they were skipped and why; with `CI` set that is a failure.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic; each file uses its part")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "real servers are waited for, and a test that is skipped says so")]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nats,
    Postgres,
    Redis,
}

/// A server that runs, or somebody else's.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    url: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    folder: PathBuf,
    port: u16,
    program: PathBuf,
    arguments: Vec<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    server: Child,
    watchdog: Child,
}

impl Server {
    /// PostgreSQL with fsync; `None` if there is none here, and why is printed.
    pub(crate) fn postgres() -> Option<Self> {
        Self::start_or_skip(Kind::Postgres, &[])
    }

    /// Redis that flushes its log with every write; `None` if there is none here, and why is printed.
    pub(crate) fn redis() -> Option<Self> {
        Self::start_or_skip(Kind::Redis, &["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Redis with these arguments, e.g. about its log.
    pub(crate) fn redis_with(arguments: &[&str]) -> Option<Self> {
        Self::start_or_skip(Kind::Redis, arguments)
    }

    /// NATS with JetStream; `None` if there is none here, and why is printed.
    pub(crate) fn nats() -> Option<Self> {
        Self::start_or_skip(Kind::Nats, &[])
    }

    fn start_or_skip(kind: Kind, arguments: &[&str]) -> Option<Self> {
        match Self::try_start(kind, arguments) {
            Ok(server) => Some(server),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "{kind:?} is needed: {why}");
                println!("skipped: {why}");
                None
            }
        }
    }

    fn try_start(kind: Kind, arguments: &[&str]) -> Result<Self, String> {
        let variable = match kind {
            Kind::Nats => "CRM_SYNC_NATS_URL",
            Kind::Postgres => "CRM_SYNC_POSTGRES_URL",
            Kind::Redis => "CRM_SYNC_REDIS_URL",
        };
        if let Ok(url) = std::env::var(variable) {
            return Ok(Self { kind, url, own: None });
        }
        let program = find(kind).ok_or_else(|| {
            let package = match kind {
                Kind::Nats => "nats-server",
                Kind::Postgres => "postgresql",
                Kind::Redis => "redis-server",
            };
            format!("no {package} on this machine; install the package {package} or set {variable}")
        })?;
        let folder = tempfile::Builder::new().prefix("crm-sync-server-").tempdir().map_err(|error| error.to_string())?.keep();
        let port = free_port();
        let folder_text = folder.display().to_string();
        let mut all: Vec<String> = match kind {
            Kind::Nats => vec!["-a".into(), "127.0.0.1".into(), "-p".into(), port.to_string(), "-js".into(), "-sd".into(), folder_text],
            Kind::Postgres => {
                let data = folder.join("data").display().to_string();
                let mut all = vec!["-D".to_owned(), data, "-p".into(), port.to_string()];
                for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", "fsync=on"] {
                    all.extend(["-c".into(), setting.to_owned()]);
                }
                all
            }
            Kind::Redis => {
                vec![
                    "--port".into(),
                    port.to_string(),
                    "--bind".into(),
                    "127.0.0.1".into(),
                    "--save".into(),
                    "".into(),
                    "--dir".into(),
                    folder_text,
                ]
            }
        };
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let url = match kind {
            Kind::Nats => format!("nats://127.0.0.1:{port}"),
            Kind::Postgres => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            Kind::Redis => format!("redis://127.0.0.1:{port}/"),
        };
        if kind == Kind::Postgres
            && let Err(why) = make_cluster(&program, &folder)
        {
            std::fs::remove_dir_all(&folder).ok();
            return Err(why);
        }
        let mut server = Self { kind, url, own: Some(Own { folder, port, program, arguments: all, running: None }) };
        server.start();
        Ok(server)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// True if it is a child of this test, which may kill it.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The id of its process, while it is a child of this one and runs.
    pub(crate) fn id(&self) -> Option<u32> {
        Some(self.own.as_ref()?.running.as_ref()?.server.id())
    }

    /// Ends it as a crash does. Its data stay.
    pub(crate) fn kill(&mut self) {
        if let Some(own) = &mut self.own
            && let Some(running) = own.running.take()
        {
            running.end();
        }
    }

    /// Freezes it (SIGSTOP) or lets it go on (SIGCONT).
    pub(crate) fn freeze(&self, frozen: bool) {
        let pid = self.own.as_ref().and_then(|own| own.running.as_ref()).expect("it runs").server.id();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        // PostgreSQL answers through one process per connection.
        let mut all = vec![pid.to_string()];
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
        all.extend(String::from_utf8_lossy(&children.stdout).split_whitespace().map(str::to_owned));
        assert!(Command::new("kill").arg(signal).args(all).status().unwrap().success());
    }

    /// Starts it again on its data.
    pub(crate) fn start(&mut self) {
        let (kind, own) = (self.kind, self.own.as_mut().expect("a server of this test"));
        for attempt in 0.. {
            let log = std::fs::File::create(own.folder.join("log.txt")).unwrap();
            let mut command = as_user(kind == Kind::Postgres, &own.program);
            command.args(&own.arguments).current_dir(&own.folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            let mut server = command.spawn().expect("the server starts");
            if ready(kind, own.port, &mut server) {
                own.running = Some(Running { watchdog: watchdog(server.id(), &own.folder), server });
                return;
            }
            server.kill().ok();
            server.wait().ok();
            let said = std::fs::read_to_string(own.folder.join("log.txt")).unwrap_or_default();
            // After a kill the old server's processes may still hold its memory for a moment.
            assert!(attempt < 20, "{kind:?} does not start:\n{said}");
            sleep(Duration::from_millis(300));
        }
    }

    /// Ends it, forgets all its data and starts it anew, as somebody does who replaces a broken disk.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        let own = self.own.as_ref().expect("a server of this test");
        for entry in std::fs::read_dir(&own.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
        if self.kind == Kind::Postgres {
            make_cluster(&own.program, &own.folder).unwrap();
        }
        self.start();
    }

    /// A name no other test uses, for a schema, a prefix or a stream.
    pub(crate) fn fresh_name(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() % 1_000_000_000;
        format!("t{}_{stamp}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Some(own) = &self.own {
            std::fs::remove_dir_all(&own.folder).ok();
        }
    }
}

impl Running {
    fn end(mut self) {
        // The watchdog first: it must not meet another process of the same number.
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// Ends the server once the pipe to this test breaks, however the test ended.
fn watchdog(server: u32, folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\"; sleep 1; rm -rf \"$2\"", "watchdog"])
        .arg(server.to_string())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn find(kind: Kind) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from));
    let name = match kind {
        Kind::Nats => "nats-server",
        Kind::Postgres => {
            // Debian keeps each version in a folder of its own, outside of PATH.
            let mut versions: Vec<PathBuf> =
                std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
            versions.sort();
            versions.reverse();
            folders = versions.into_iter().chain(folders).collect();
            "postgres"
        }
        Kind::Redis => "redis-server",
    };
    folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// PostgreSQL refuses to run as root. `setpriv` becomes the program, which so stays a direct child.
fn as_user(change: bool, program: &Path) -> Command {
    if change && is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn make_cluster(program: &Path, folder: &Path) -> Result<(), String> {
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(folder))?;
    }
    let initdb = program.with_file_name("initdb");
    let data = folder.join("data");
    run(as_user(true, &initdb)
        .args([OsStr::new("-D"), data.as_os_str()])
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N"])
        .current_dir(folder))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))) }
}

/// Waits until the server answers; false if it ended instead.
fn ready(kind: Kind, port: u16, server: &mut Child) -> bool {
    for _ in 0..600 {
        if server.try_wait().unwrap().is_some() {
            return false;
        }
        if answers(kind, port) {
            return true;
        }
        sleep(Duration::from_millis(50));
    }
    false
}

fn answers(kind: Kind, port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut answer = [0; 9];
    let (question, length): (&[u8], usize) = match kind {
        Kind::Nats => (b"", 4),
        // A start-up packet of protocol 3.0 for the user `postgres`: the answer is `R` once connections are let in.
        Kind::Postgres => (b"\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00", 1),
        Kind::Redis => (b"PING\r\n", 5),
    };
    let heard = stream.write_all(question).is_ok() && answer.get_mut(..length).is_some_and(|part| stream.read_exact(part).is_ok());
    heard && [b"INFO".as_slice(), b"R", b"+PONG"].iter().any(|expected| answer.starts_with(expected))
}
