//! Prometheus' own judge of metrics and rules: the host's, or the one that
//! tests/debian.sh unpacked.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub struct Promtool(PathBuf);

pub fn find() -> Option<Promtool> {
    let unpacked = std::env::var_os("VIPWARD_TEST_TOOLS").map(PathBuf::from);
    let unpacked = unpacked.map(|root| root.join("usr/bin/promtool"));
    let candidates = [Some(PathBuf::from("promtool")), unpacked];
    let mut candidates = candidates.into_iter().flatten();
    let works = |path: &PathBuf| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    candidates.find(works).map(Promtool)
}

impl Promtool {
    #[allow(
        dead_code,
        reason = "the end-to-end tests use it, too, and not all of it"
    )]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(&self.0).args(arguments).output();
        output.expect("promtool")
    }

    /// Neither a fault nor advice.
    pub fn check_metrics(&self, text: &str) {
        let mut child = Command::new(&self.0)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(text.as_bytes()).expect("to write");
        drop(stdin);
        let output = child.wait_with_output().expect("promtool");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
