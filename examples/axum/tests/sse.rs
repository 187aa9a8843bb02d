//! The server, with the requests that a browser sends.

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

    /// Returns the next line that starts with `start`.
    async fn line(&mut self, start: &str) -> String {
        within(async {
            loop {
                let line = self
                    .0
                    .next_line()
                    .await
                    .unwrap()
                    .expect("the response has ended");
                if line.starts_with(start) {
                    return line;
                }
            }
        })
        .await
    }

    /// Reads to the end of the connection, and returns the last line with text.
    async fn end(mut self) -> String {
        within(async {
            let mut last = String::new();
            while let Some(line) = self.0.next_line().await.unwrap() {
                if !line.is_empty() {
                    last = line;
                }
            }
            last
        })
        .await
    }

    /// Returns the fields of the next event.
    async fn event(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        loop {
            let line = self.line("").await;
            let names = ["event: ", "data: ", "id: "];
            if names.iter().any(|name| line.starts_with(name)) {
                fields.push(line);
            } else if line.is_empty() && !fields.is_empty() {
                return fields;
            }
        }
    }

    /// Returns the next event that is not a keepalive.
    async fn message(&mut self) -> Vec<String> {
        within(async {
            loop {
                let event = self.event().await;
                if !event.iter().any(|field| field == "event: keepalive") {
                    return event;
                }
            }
        })
        .await
    }

    /// Returns the next line with data.
    async fn data(&mut self) -> String {
        self.line("data: ").await
    }
}

/// The header with which a browser reconnects that has got this event.
fn last_event_id(event: &[String]) -> String {
    let id = event.iter().find_map(|field| field.strip_prefix("id: "));
    id.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"))
}

#[tokio::test]
async fn a_keepalive_is_a_named_event_that_carries_the_interval() {
    let server = server::start(&["--keepalive", "100ms"]).await;
    let mut events = Events::get(&server, "").await;
    assert_eq!(events.line("event: ").await, "event: keepalive");
    assert_eq!(events.data().await, "data: 100");
}

#[tokio::test]
async fn nginx_is_told_not_to_buffer() {
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
    // `--immediate` sends no keepalive if keepalives are off, so the first event is the line.
    let id = events.line("id: ").await;
    assert!(id.ends_with("-1"), "{id}");
    assert_eq!(events.data().await, "data: backup finished");
}

#[tokio::test]
async fn with_immediate_a_keepalive_comes_before_the_first_idle_time_has_passed() {
    let server = server::start(&["--keepalive", "1h", "--immediate"]).await;
    let mut events = Events::get(&server, "").await;
    assert_eq!(events.line("event: ").await, "event: keepalive");
}

#[tokio::test]
async fn a_client_that_reconnects_gets_what_it_missed_and_nothing_twice() {
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
async fn a_client_that_is_cut_off_before_its_first_event_gets_what_it_missed() {
    let mut server = server::start(&["--keepalive", "1h", "--immediate"]).await;
    let mut events = Events::get(&server, "").await;
    let header = last_event_id(&events.event().await);
    drop(events);

    server.program.type_line("one").await.unwrap();
    server.program.type_line("two").await.unwrap();
    let mut events = Events::get(&server, &header).await;
    events.line("HTTP/1.1 200").await;
    server.program.type_line("three").await.unwrap();
    for line in ["one", "two", "three"] {
        let data = format!("data: {line}");
        assert!(events.message().await.contains(&data), "{line} is lost");
    }
}

#[tokio::test]
async fn a_keepalive_after_an_event_carries_the_id_of_that_event() {
    let mut server = server::start(&["--keepalive", "100ms"]).await;
    let mut events = Events::get(&server, "").await;
    let first = last_event_id(&events.event().await);
    server.program.type_line("one").await.unwrap();
    let one = last_event_id(&events.message().await);
    assert_ne!(one, first);
    assert_eq!(last_event_id(&events.event().await), one);
}

#[tokio::test]
async fn after_a_restart_of_the_server_a_client_gets_all_lines_of_the_new_process() {
    let mut server = server::start(&["--keepalive", "0s"]).await;
    server.program.type_line("one").await.unwrap();
    let mut events = Events::get(&server, "last-event-id: 1234567890-7\r\n").await;
    assert_eq!(events.data().await, "data: one");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_streams_and_the_process_and_the_client_reconnects() {
    for signal in [programs::Signal::SIGTERM, programs::Signal::SIGINT] {
        let mut server = server::start(&["--keepalive", "100ms"]).await;
        let mut events = Events::get(&server, "").await;
        events.line("event: keepalive").await;

        server.program.send(signal).unwrap();
        assert!(server.program.ended().await.unwrap().success());
        // An empty chunk means that the response has ended, and was not cut off.
        assert_eq!(events.end().await, "0");

        let addr = server.addr.to_string();
        let server = server::start(&["--keepalive", "100ms", "--listen", &addr]).await;
        let mut events = Events::get(&server, "").await;
        events.line("event: keepalive").await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_that_does_not_read_does_not_delay_the_end() {
    let mut server = server::start(&["--keepalive", "0s"]).await;
    let mut stuck = Events::get(&server, "").await;
    stuck.line("HTTP/1.1 200").await;
    let mut other = Events::get(&server, "").await;
    other.line("HTTP/1.1 200").await;
    // More than the buffers of a connection hold.
    let long = "long ".repeat(2_000_000);
    server.program.type_line(&long).await.unwrap();
    other.data().await;

    let start = std::time::Instant::now();
    server.program.send(programs::Signal::SIGTERM).unwrap();
    assert!(server.program.ended().await.unwrap().success());
    // It takes half a second on an idle machine.
    let took = start.elapsed();
    assert!(took < programs::LATE, "{took:?}");
}

#[tokio::test]
async fn bad_input_is_reported_in_one_line_and_an_exit_code() {
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
