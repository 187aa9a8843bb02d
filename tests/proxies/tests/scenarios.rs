//! Behind real proxies, a silent stream dies, and one with keepalives lives.

use std::time::Duration;

use futures::future::try_join_all;
use harness::{
    setup::Setup,
    trial::{Cure, Outcome, SILENCE, run},
};

/// What is expected of a proxy beyond what all have in common.
struct Expected {
    /// Whether an HTTP/2 PING of the server keeps a silent stream alive.
    ping: bool,
    /// Whether a stream with an interval equal to the timeout loses that race. On a busy machine the
    /// proxy may be late, so not every one of four has to.
    race_is_lost: bool,
}

async fn check(setup: Setup, expected: Expected) {
    let cures = [
        Cure::Nothing,
        Cure::Keepalive(SILENCE / 4),
        Cure::Keepalive(SILENCE / 2),
        Cure::Ping(SILENCE / 4),
        Cure::Keepalive(SILENCE),
        Cure::Keepalive(SILENCE),
        Cure::Keepalive(SILENCE),
        Cure::Keepalive(SILENCE),
    ];
    let outcomes = try_join_all(cures.map(|cure| run(setup, cure))).await;
    let [nothing, quarter, half, ping, equal @ ..] = &outcomes.unwrap()[..] else {
        unreachable!("as many outcomes as cures")
    };
    assert!(!nothing.is_alive(), "without keepalives: {nothing}");
    for outcome in [quarter, half] {
        // At once: much sooner than the next keepalive would have flushed it.
        let at_once = Duration::from_millis(400);
        assert!(
            matches!(outcome, Outcome::Alive { event_after } if *event_after < at_once),
            "with keepalives: {outcome:?}"
        );
    }
    assert_eq!(ping.is_alive(), expected.ping, "with a PING: {ping}");
    let survivors = equal.iter().filter(|outcome| outcome.is_alive()).count();
    assert!(
        survivors < equal.len() || !expected.race_is_lost,
        "all of them won the race"
    );
}

#[tokio::test]
#[ignore = "needs nginx: run scripts/install-test-tools"]
async fn keepalives_carry_a_stream_through_nginx_with_grpc_pass() {
    let expected = Expected {
        ping: true,
        race_is_lost: true,
    };
    check(Setup::NginxGrpc, expected).await;
}

#[tokio::test]
#[ignore = "needs nginx: run scripts/install-test-tools"]
async fn keepalives_carry_grpc_web_through_nginx_unbuffered() {
    let expected = Expected {
        ping: false,
        race_is_lost: true,
    };
    check(Setup::NginxUnbuffered, expected).await;
}

#[tokio::test]
#[ignore = "needs nginx: run scripts/install-test-tools"]
async fn keepalives_carry_grpc_web_through_nginx_with_its_buffer_on() {
    let expected = Expected {
        ping: false,
        race_is_lost: true,
    };
    check(Setup::NginxBuffered, expected).await;
}

#[tokio::test]
#[ignore = "needs nginx: run scripts/install-test-tools"]
async fn keepalives_gather_unseen_in_nginx_as_it_comes() {
    for cure in [Cure::Nothing, Cure::Keepalive(SILENCE / 4)] {
        let outcome = run(Setup::NginxDefaults, cure).await.unwrap();
        assert!(!outcome.is_alive(), "{cure:?}: {outcome}");
    }
}

#[tokio::test]
#[ignore = "needs haproxy: run scripts/install-test-tools"]
async fn keepalives_carry_a_stream_through_haproxy_with_http_2() {
    let expected = Expected {
        ping: false,
        race_is_lost: true,
    };
    check(Setup::HaproxyHttp2, expected).await;
}

#[tokio::test]
#[ignore = "needs haproxy: run scripts/install-test-tools"]
async fn keepalives_carry_grpc_web_through_haproxy_with_http_1() {
    let expected = Expected {
        ping: false,
        race_is_lost: true,
    };
    check(Setup::HaproxyHttp1, expected).await;
}

#[tokio::test]
#[ignore = "needs envoy: run scripts/install-test-tools"]
async fn keepalives_carry_a_stream_through_envoy() {
    let expected = Expected {
        ping: false,
        race_is_lost: true,
    };
    check(Setup::Envoy, expected).await;
}

#[tokio::test]
#[ignore = "needs envoy: run scripts/install-test-tools"]
async fn no_keepalive_cures_a_limit_on_the_whole_response() {
    let outcome = run(Setup::EnvoyWhole, Cure::Keepalive(SILENCE / 4)).await;
    assert!(matches!(outcome, Ok(Outcome::Dead { .. })), "{outcome:?}");
}

#[tokio::test]
#[ignore = "needs caddy: run scripts/install-test-tools"]
async fn keepalives_carry_a_stream_through_caddy() {
    let expected = Expected {
        ping: true,
        race_is_lost: true,
    };
    check(Setup::Caddy, expected).await;
}

#[tokio::test]
#[ignore = "needs apache2: run scripts/install-test-tools"]
async fn keepalives_carry_a_stream_through_apache() {
    // Its clock is coarse: about half of the streams win the race.
    let expected = Expected {
        ping: false,
        race_is_lost: false,
    };
    check(Setup::Apache, expected).await;
}

#[tokio::test]
async fn without_a_proxy_a_silent_stream_lives() {
    let outcome = run(Setup::Direct, Cure::Nothing).await.unwrap();
    assert!(outcome.is_alive(), "{outcome}");
}
