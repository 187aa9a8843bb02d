use crate::process::{DEMO, Process};

#[tokio::test]
async fn one_stream_dies_and_the_other_gets_its_event() {
    let mut demo = Process::start(DEMO, &[]);
    let shown = demo.stdout.rest().await.join("\n");
    assert!(demo.ended().await.success(), "{shown}");
    let cut = shown.find("cut off by the proxy").expect(&shown);
    let event = shown.find("EVENT: backup finished").expect(&shown);
    assert!(cut < event, "{shown}");
    assert_eq!(demo.stderr.rest().await, [""; 0]);
}

#[tokio::test]
async fn it_fails_when_the_keepalive_comes_too_late() {
    let mut demo = Process::start(DEMO, &["--keepalive", "3s"]);
    assert_eq!(demo.ended().await.code(), Some(1));
    assert_eq!(demo.stderr.rest().await.len(), 1);
}
