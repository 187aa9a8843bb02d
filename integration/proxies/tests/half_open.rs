//! What is expected of an idle bidirectional call: `cargo test -p proxies --test half_open -- --include-ignored nginx`

use std::process::ExitCode;

use futures::future::try_join_all;
use libtest_mimic::{Arguments, Failed, Trial};
use proxies::half_open::{LIMITS, Limits, Sender, run};

fn main() -> ExitCode {
    let tests = LIMITS.iter().map(|limits| {
        let name = format!(
            "an_idle_call_lives_and_dies_as_expected_with_{}",
            limits.name
        );
        let test = Trial::test(name, || check(limits)).with_ignored_flag(limits.proxy.is_some());
        match limits.proxy {
            Some(proxy) => test.with_kind(format!("needs {}", proxy.program)),
            None => test,
        }
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

#[tokio::main]
async fn check(limits: &Limits) -> Result<(), Failed> {
    let outcomes = Sender::ALL.map(|sender| run(limits, sender));
    let outcomes = try_join_all(outcomes)
        .await
        .map_err(|error| format!("{error:#}"))?;
    for ((sender, outcome), lives) in Sender::ALL.iter().zip(outcomes).zip(limits.lives) {
        assert_eq!(
            outcome.is_alive(),
            lives,
            "keepalives from {sender:?}: {outcome}"
        );
    }
    Ok(())
}
