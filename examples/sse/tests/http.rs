//! The server, asked as a browser asks it.

mod server;

use programs::{Server, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
};

struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    async fn get(server: &Server, header: &str) -> Self {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let request = format!("GET /events HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream).lines())
    }

    /// Returns the next line that starts like this.
    async fn line(&mut self, start: &str) -> String {
        within(async {
            loop {
                let line = self.0.next_line().await.unwrap().expect("it has ended");
                if line.starts_with(start) {
                    return line;
                }
            }
        })
        .await
    }

    /// Returns the next field of an event but the kind that is expected to come in between.
    async fn data(&mut self) -> String {
        self.line("data: ").await
    }
}

#[tokio::test]
async fn a_keepalive_is_an_event_with_a_name_and_tells_the_interval() {
    let server = server::start(&["--keepalive", "100ms"]).await;
    let mut events = Events::get(&server, "").await;
    assert_eq!(events.line("event: ").await, "event: keepalive");
    assert_eq!(events.data().await, "data: 100");
}

#[tokio::test]
async fn nginx_is_asked_not_to_hold_events_back() {
    let server = server::start(&[]).await;
    let mut events = Events::get(&server, "").await;
    assert_eq!(
        events.line("x-accel-buffering").await,
        "x-accel-buffering: no"
    );
}

#[tokio::test]
async fn a_line_of_standard_input_is_an_event_with_an_id() {
    let mut server = server::start(&["--keepalive", "0s", "--immediate"]).await;
    let mut events = Events::get(&server, "").await;
    events.line("HTTP/1.1 200").await;
    server.program.type_line("backup finished").await.unwrap();
    // With keepalives off there is none at once either: the first event is the real one.
    let id = events.line("id: ").await;
    assert!(id.ends_with("-0"), "{id}");
    assert_eq!(events.data().await, "data: backup finished");
}

#[tokio::test]
async fn immediate_sends_one_long_before_the_first_silence_is_over() {
    let server = server::start(&["--keepalive", "1h", "--immediate"]).await;
    let mut events = Events::get(&server, "").await;
    assert_eq!(events.line("event: ").await, "event: keepalive");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let mut server = server::start(&["--keepalive", "0s"]).await;
    let mut events = Events::get(&server, "").await;
    events.line("HTTP/1.1 200").await;
    server.program.type_line("one").await.unwrap();
    let id = events.line("id: ").await;
    drop(events);

    server.program.type_line("two").await.unwrap();
    let last = id.replace("id", "last-event-id");
    let mut events = Events::get(&server, &format!("{last}\r\n")).await;
    assert_eq!(events.data().await, "data: two");
    server.program.type_line("three").await.unwrap();
    assert_eq!(events.data().await, "data: three");
}

#[tokio::test]
async fn after_a_restart_of_the_server_a_client_gets_all_that_is_new() {
    let mut server = server::start(&["--keepalive", "0s"]).await;
    server.program.type_line("one").await.unwrap();
    let mut events = Events::get(&server, "last-event-id: 1234567890-7\r\n").await;
    assert_eq!(events.data().await, "data: one");
}

#[tokio::test]
async fn bad_input_takes_a_clear_line_and_an_exit_code() {
    for (args, code) in [
        (["--keepalive", "soon"], 2),
        (["--listen", "here"], 2),
        (["--listen", "192.0.2.1:1"], 1),
    ] {
        let output = server::command(&args).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.to_lowercase().starts_with("error: "), "{stderr}");
    }
}
