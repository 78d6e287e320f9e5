//! Servers that nobody here wrote, run as child processes on loopback: Kinto (from PyPI) and json-server (from npm).
//!
//! What is not installed yet is installed once into `target/` (Kinto into a virtual environment of its own). A test that needs a
//! server is skipped with a printed reason where Python or npm is missing; with `CI` set that is a failure.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail by panicking, like the tests")]
#![allow(clippy::disallowed_methods, reason = "a server that starts is waited for by the real clock")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[path = "npm.rs"]
mod npm;

const KINTO: &str = "26.5.0";
const JSON_SERVER: &str = "1.0.0-beta.15";

/// A server that ends when this is dropped, or when the test process ends in whatever way.
#[derive(Debug)]
pub struct Program {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Program {
    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kinto with its data in memory, pages of at most five records, and collections that may have a schema.
    pub fn kinto() -> Option<Self> {
        let bin = virtual_environment("kinto", KINTO)?.join("bin").join("kinto");
        let folder = tempfile::tempdir().unwrap();
        let ini = folder.path().join("kinto.ini");
        std::fs::write(&ini, INI).unwrap();
        Some(Self::start(folder, |port| {
            let mut command = vec![bin.to_str().unwrap().to_owned()];
            command.extend(["start", "--ini"].map(str::to_owned));
            command.extend([ini.to_str().unwrap().to_owned(), "--port".to_owned(), port.to_string()]);
            command
        }))
    }

    /// json-server over a file with these collections.
    pub fn json_server(collections: &serde_json::Value) -> Option<Self> {
        let package = npm::package("json-server", JSON_SERVER)?;
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db.json");
        std::fs::write(&db, collections.to_string()).unwrap();
        std::fs::create_dir(folder.path().join("public")).unwrap();
        let script = package.join("node_modules/json-server/lib/bin.js");
        Some(Self::start(folder, |port| {
            // By default it reads its file again whenever that changes, and loses writes that come meanwhile.
            let parts = [
                "env",
                "NODE_ENV=production",
                "node",
                script.to_str().unwrap(),
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                db.to_str().unwrap(),
            ];
            parts.map(str::to_owned).to_vec()
        }))
    }

    fn start(folder: tempfile::TempDir, command: impl Fn(u16) -> Vec<String>) -> Self {
        let log = folder.path().join("log");
        for _ in 0..3 {
            // Free a moment ago; if somebody else was faster the server ends, and another port is tried.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // The pipe to the shell closes with this process, however it ends.
            let script = r#"out="$1"; shift; exec 3<&0; "$@" >"$out" 2>&1 </dev/null 3<&- & server=$!
                (cat <&3 >/dev/null; kill $server 2>/dev/null) & exec 3<&-; wait $server"#;
            let mut child = Command::new("sh")
                .args(["-c", script, "sh", log.to_str().unwrap()])
                .args(command(port))
                .current_dir(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..600 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, folder };
                }
                std::thread::sleep(Duration::from_millis(100));
                if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    break;
                }
            }
            stop(&mut child);
        }
        panic!("the server did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    drop(child.stdin.take());
    let _ = child.wait();
}

/// The virtual environment that holds the package; `None` after saying why there is none.
fn virtual_environment(name: &str, version: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pip");
    let dir = root.join(format!("{name}-{version}"));
    if dir.join("bin").join(name).exists() && dir.join("complete").exists() {
        return Some(dir);
    }
    match install(&root, &dir, name, version) {
        Ok(()) => Some(dir),
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "{name} could not be installed: {reason}");
            eprintln!("skipped: {name} could not be installed: {reason}");
            None
        }
    }
}

/// A virtual environment cannot be moved: a lock (a directory that only one can make) keeps two tests from making it at once.
fn install(root: &Path, dir: &Path, name: &str, version: &str) -> Result<(), String> {
    std::fs::create_dir_all(root).map_err(|error| error.to_string())?;
    let lock = root.join(format!("{name}-{version}.lock"));
    for _ in 0..1800 {
        if std::fs::create_dir(&lock).is_ok() {
            let outcome = if dir.join("complete").exists() { Ok(()) } else { make(dir, name, version) };
            let _ = std::fs::remove_dir(&lock);
            return outcome;
        }
        // A lock of a test that was killed is not kept for ever.
        let age = std::fs::metadata(&lock).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > Duration::from_secs(300)) {
            let _ = std::fs::remove_dir(&lock);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("another test is still installing it".to_owned())
}

fn make(dir: &Path, name: &str, version: &str) -> Result<(), String> {
    let run = |program: &Path, arguments: &[&str]| -> Result<(), String> {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{} does not run: {error}", program.display()))?;
        let told = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{} failed: {told}", program.display())) }
    };
    let _ = std::fs::remove_dir_all(dir);
    run(Path::new("python3"), &["-m", "venv", dir.to_str().unwrap()])?;
    run(&dir.join("bin/pip"), &["install", "--quiet", "--disable-pip-version-check", &format!("{name}=={version}")])?;
    std::fs::write(dir.join("complete"), "").map_err(|error| error.to_string())
}

const INI: &str = r"
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = %(http_port)s

[app:main]
use = egg:kinto
kinto.includes = kinto.plugins.accounts
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = test
multiauth.policies = account
multiauth.policy.account.use = kinto.plugins.accounts.AccountsPolicy
kinto.account_create_principals = system.Everyone
kinto.bucket_create_principals = system.Authenticated
kinto.paginate_by = 5
kinto.experimental_collection_schema_validation = true

[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys = plain

[logger_root]
level = WARN
handlers = console

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain

[formatter_plain]
format = %(message)s
";
