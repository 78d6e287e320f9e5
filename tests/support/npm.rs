//! Servers that nobody here wrote: packages of npm, run by node as child processes.
//!
//! A test that needs one is skipped with a printed reason where npm or node is missing; with `CI=1` that is a failure. Packages
//! are installed once into `target/npm` (or the directory in `CRM_SYNC_NPM_DIR`).

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail by panicking, like the tests")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The directory in whose `node_modules` the package is; `None` after saying why it is not.
pub fn package(name: &str, version: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CRM_SYNC_NPM_DIR")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new(".")).join("npm"), PathBuf::from);
    let dir = root.join(format!("{}-{version}", name.replace('/', "-")));
    if dir.join("node_modules").join(name).is_dir() {
        return Some(dir);
    }
    match install(&root, &dir, name, version) {
        Ok(()) => Some(dir),
        Err(reason) => {
            if std::env::var("CI").is_ok_and(|ci| ci == "1" || ci == "true") {
                panic!("{name} could not be installed: {reason}");
            }
            eprintln!("skipped: {name} could not be installed: {reason}");
            None
        }
    }
}

/// Installs beside the place and moves there at the end, so that tests that run at once do not meet half an installation.
fn install(root: &Path, dir: &Path, name: &str, version: &str) -> Result<(), String> {
    let version_of_node = Command::new("node").arg("--version").output().map_err(|error| format!("node does not run: {error}"))?;
    if !version_of_node.status.success() {
        return Err("node does not run".to_owned());
    }
    std::fs::create_dir_all(root).map_err(|error| error.to_string())?;
    let fresh = tempfile::tempdir_in(root).map_err(|error| error.to_string())?;
    std::fs::write(fresh.path().join("package.json"), r#"{"private": true}"#).map_err(|error| error.to_string())?;
    let npm = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", &format!("{name}@{version}")])
        .current_dir(fresh.path())
        .output()
        .map_err(|error| format!("npm does not run: {error}"))?;
    if !npm.status.success() {
        return Err(format!("npm failed: {}", String::from_utf8_lossy(&npm.stderr).lines().last().unwrap_or_default()));
    }
    let fresh = fresh.keep();
    match std::fs::rename(&fresh, dir) {
        Ok(()) => Ok(()),
        // Another test was faster.
        Err(_) if dir.join("node_modules").join(name).is_dir() => std::fs::remove_dir_all(&fresh).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A server that stops when this is dropped, or when the test process ends.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The line it printed when it was ready.
    pub ready: String,
}

impl Server {
    /// Runs a script (an ES module) in the package's directory and waits for the first line it prints.
    pub fn start(dir: &Path, script: &str) -> Self {
        // The pipe closes with this process, however it ends.
        let script = format!("process.stdin.resume(); process.stdin.on('end', () => process.exit(0));\n{script}");
        let mut child = Command::new("node")
            .args(["--input-type=module", "-e", &script])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node does not run: {error}"));
        let mut ready = String::new();
        let out = child.stdout.take().unwrap_or_else(|| panic!("the server has no output"));
        BufReader::new(out).read_line(&mut ready).unwrap_or_else(|error| panic!("the server said nothing: {error}"));
        let ready = ready.trim().to_owned();
        assert!(!ready.is_empty(), "the server ended before it was ready");
        Self { child, ready }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
