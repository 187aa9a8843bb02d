//! The keepalives that are tried.

/// What the layer of stream-keepalive-http sends, and axum by itself.
pub const COMMENT: &str = ":\n\n";

/// The same comment without the blank line.
pub const COMMENT_LINE: &str = ":\n";

/// Comments.
pub const COMMENTS: [&str; 4] = [
    COMMENT,
    // What axum makes of `Event::default().comment("")`.
    ": \n\n",
    COMMENT_LINE,
    // What sse-starlette 3.7 sends.
    ": ping - 2026-11-25 16:00:00.000000+00:00\r\n\r\n",
];

/// An event with data that everybody can parse.
pub const EVENT: &str = "event: keepalive\ndata: {}\n\n";

pub use recipes::models::{PING, RESPONSE};

/// Events.
pub const EVENTS: [&str; 6] = [
    "event: keepalive\ndata: still here\n\n",
    EVENT,
    "event: keepalive\ndata:\n\n",
    "event: keepalive\n\n",
    // A resume point, which a browser sends when it reconnects.
    "id: 7\n\n",
    PING,
];

/// A single byte, the first one of a comment.
pub const BYTE: &str = ":";

/// What stands for the progress token of the request.
pub const TOKEN: &str = "TOKEN";

/// A progress notification of the Model Context Protocol.
pub const PROGRESS: &str = concat!(
    r#"data: {"jsonrpc":"2.0","method":"notifications/progress","#,
    r#""params":{"progressToken":TOKEN,"progress":2,"message":"keepalive"}}"#,
    "\n\n"
);

/// A keepalive of each kind.
pub const EACH_KIND: [&str; 4] = [BYTE, COMMENT, PING, EVENT];

pub const EMPTY_LINE: &str = "\n";

/// Lines.
pub const LINES: [&str; 2] = [EMPTY_LINE, "{}\n"];
