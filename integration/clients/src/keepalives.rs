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

/// Events.
pub const EVENTS: [&str; 6] = [
    "event: keepalive\ndata: still here\n\n",
    "event: keepalive\ndata: {}\n\n",
    "event: keepalive\ndata:\n\n",
    "event: keepalive\n\n",
    // A resume point, which a browser sends when it reconnects.
    "id: 7\n\n",
    // What Anthropic's API sends.
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
];

pub const EMPTY_LINE: &str = "\n";

/// Lines.
pub const LINES: [&str; 2] = [EMPTY_LINE, "{}\n"];
