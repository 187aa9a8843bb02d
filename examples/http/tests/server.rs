//! Starts the example, and reads its routes as its own output says.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start() -> (Server, String) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_http-server"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .strip_prefix("listening on ")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    (Server(server), address.to_owned())
}

/// Reads a route until the body contains `end`, and returns the body without its chunk sizes.
fn read(address: &str, path: &str, end: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut received = String::new();
    let mut bytes = [0; 1024];
    loop {
        let count = connection.read(&mut bytes).unwrap();
        assert!(count > 0, "the end came after {received:?}");
        received += std::str::from_utf8(&bytes[..count]).unwrap();
        let (_, body) = received.split_once("\r\n\r\n").unwrap_or_default();
        let body: String = body.split("\r\n").skip(1).step_by(2).collect();
        if body.contains(end) {
            return body;
        }
    }
}

#[test]
fn each_route_is_kept_alive_and_its_control_is_not() {
    let (_server, address) = start();
    let read = |path: &'static str, end: &'static str| {
        let address = address.clone();
        std::thread::spawn(move || read(&address, path, end))
    };
    // All at the same time, since each takes some seconds.
    let events = read("/events", "data: 2\n\n");
    let plain_events = read("/plain/events", "data: 2\n\n");
    let lines = read("/lines", "{\"number\":2}\n");
    let plain_lines = read("/plain/lines", "{\"number\":2}\n");
    let relayed = read("/relay", " event\n\n:\n\n");
    let plain_relayed = read("/plain/relay", " event\n\n");

    let events = events.join().unwrap();
    assert!(events.starts_with("data: 1\n\n:\n\n"), "{events:?}");
    assert_eq!(events.replace(":\n\n", ""), "data: 1\n\ndata: 2\n\n");
    assert_eq!(plain_events.join().unwrap(), "data: 1\n\ndata: 2\n\n");

    let lines = lines.join().unwrap();
    assert!(lines.starts_with("{\"number\":1}\n\n"), "{lines:?}");
    assert_eq!(
        plain_lines.join().unwrap(),
        "{\"number\":1}\n{\"number\":2}\n"
    );

    let relayed = relayed.join().unwrap();
    assert!(relayed.starts_with(":\n\n"), "{relayed:?}");
    assert_eq!(relayed.replace(":\n\n", ""), "data: half an event\n\n");
    assert_eq!(plain_relayed.join().unwrap(), "data: half an event\n\n");
}
