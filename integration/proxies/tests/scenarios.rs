//! What is expected of every scenario: `cargo test -p proxies --test scenarios -- --include-ignored nginx`

use std::{process::ExitCode, time::Duration};

use futures::future::try_join_all;
use libtest_mimic::{Arguments, Failed, Trial};
use proxies::{
    outcome::{Outcome, Strategy, run},
    scenario::{self, Scenario},
};

fn main() -> ExitCode {
    let tests = scenario::all().map(|(proxy, scenario)| {
        let name = format!("streams_live_and_die_as_expected_with_{}", scenario.name);
        let test = Trial::test(name, || check(scenario)).with_ignored_flag(proxy.is_some());
        match proxy {
            Some(proxy) => test.with_kind(format!("needs {}", proxy.name)),
            None => test,
        }
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

#[tokio::main]
async fn check(scenario: &Scenario) -> Result<(), Failed> {
    let strategies = [
        Strategy::Nothing,
        Strategy::Keepalive(4),
        Strategy::Keepalive(2),
        Strategy::TooLate,
        Strategy::Ping(4),
    ];
    let outcomes = strategies.map(|strategy| run(scenario, strategy));
    let outcomes = try_join_all(outcomes)
        .await
        .map_err(|error| format!("{error:#}"))?;
    let [nothing, quarter, half, too_late, ping] = &outcomes[..] else {
        unreachable!("there is an outcome for each strategy")
    };

    let expected = &scenario.expected;
    assert_eq!(
        nothing.is_alive(),
        expected.idle,
        "without keepalives: {nothing}"
    );
    for outcome in [quarter, half] {
        assert_eq!(
            outcome.is_alive(),
            expected.keepalive,
            "with keepalives: {outcome}"
        );
        if let Outcome::Alive { event_after } = *outcome {
            // Well before the next keepalive, so the keepalive did not flush the event.
            assert!(event_after < Duration::from_millis(400), "{event_after:?}");
        }
    }
    // With an interval as long as the timeout, a busy machine decides which stream lives.
    assert_eq!(
        too_late.is_alive(),
        expected.idle,
        "with keepalives that are too late: {too_late}"
    );
    assert_eq!(ping.is_alive(), expected.ping, "with a PING: {ping}");
    Ok(())
}
