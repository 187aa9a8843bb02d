use crate::process::{INVISIBLE, start};

#[tokio::test]
async fn one_stream_is_cut_off_and_the_other_ends_when_its_server_freezes() {
    let mut program = start(INVISIBLE, &[]);
    let shown = program.stdout.rest().await.unwrap().join("\n");
    assert!(program.ended().await.unwrap().success(), "{shown}");
    let event = shown
        .find("both layers   EVENT: backup finished")
        .expect(&shown);
    // The introduction announces it too.
    let frozen = shown.rfind("the servers freeze").expect(&shown);
    let missed = shown
        .find("Unavailable: nothing received for 1.5s")
        .expect(&shown);
    assert!(event < frozen && frozen < missed, "{shown}");
    // The client gets no item but the event.
    assert!(!shown.contains("unexpected"), "{shown}");
    assert_eq!(program.stderr.rest().await.unwrap(), [""; 0]);
}
