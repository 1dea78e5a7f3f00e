//! What the program says of itself. With a test beside it, `cargo test` builds the program that the suites run.

use std::process::Command;

#[test]
fn the_program_names_its_suites() {
    let help = Command::new(env!("CARGO_BIN_EXE_torture"))
        .arg("--help")
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&help.stdout);
    for suite in ["crash", "inject", "full", "power"] {
        assert!(text.contains(&format!("- {suite}:")), "{text}");
    }
}
