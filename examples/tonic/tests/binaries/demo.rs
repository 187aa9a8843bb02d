use crate::process::{DEMO, start};

#[tokio::test]
async fn one_stream_is_cut_off_and_the_other_gets_its_event() {
    let mut demo = start(DEMO, &[]);
    let shown = demo.stdout.rest().await.unwrap().join("\n");
    assert!(demo.ended().await.unwrap().success(), "{shown}");
    let cut = shown.find("cut off by the proxy").expect(&shown);
    let event = shown.find("EVENT: backup finished").expect(&shown);
    assert!(cut < event, "{shown}");
    // It says what to try next.
    let next = shown.rfind("--bin client -- --connect").expect(&shown);
    assert!(event < next, "{shown}");
    assert_eq!(demo.stderr.rest().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn it_fails_when_the_keepalive_is_longer_than_the_timeout_of_the_proxy() {
    let mut demo = start(DEMO, &["--keepalive", "3s"]);
    assert_eq!(demo.ended().await.unwrap().code(), Some(1));
    assert_eq!(demo.stderr.rest().await.unwrap().len(), 1);
}
