//! What makes a terminal show text as it is, whatever a guest has told it before: ECMA-48, console_codes(4), and xterm's control
//! sequences, which most terminals know. Who doesn't know one passes over it.

/// In this order.
const AFRESH: &[&str] = &[
    "\x18",        // CAN: a sequence that was begun ends here
    "\x1b\\",      // ST: a string, such as a window's title, does
    "\x1b[4i",     // what comes goes to the screen, not to a printer
    "\x1b[?2026l", // and is shown now, not at the end of an update
    "\x1b[!p", // DECSTR: attributes, character sets, margins and modes as at first; and one by one for who doesn't know that
    "\x1b[m",
    "\x0f\x1b(B",
    "\x1b[4l\x1b[?7h\x1b[?25h",
    "\x1b[?6l\x1b[?69l\x1b[r",
    // Colours have not been given other values.
    "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\",
    // No picture lies over the text.
    "\x1b_Ga=d\x1b\\",
    // A new line at the bottom of the screen: nothing stands below it.
    "\x1b[999;1H\r\n",
];

/// For the caller's terminal. One that is said to have no sequences (`TERM=dumb`) can't be told to hide anything.
pub(super) fn afresh() -> Vec<u8> {
    match std::env::var_os("TERM") {
        Some(name) if name == "dumb" => b"\r\n".to_vec(),
        _ => AFRESH.concat().into_bytes(),
    }
}
