//! `-R`: a table from standard input, each line a command line.
//!
//! Shell. Lines go to the kernel in their order, and many of them in one send: all that came with one read of standard
//! input. Nothing waits for a line that has not come yet.

use super::Leave;
use super::command::{self, Command};
use super::execute::{Surroundings, carry_out, change, no_kernel, not_ours, refused};
use crate::ipvs::genl::Request;
use crate::ipvs::kernel::Kernel;

/// A mistake in a line ends it, after the lines before it; what the kernel refuses is said, and the next line comes. The
/// exit code is the last line's.
pub(super) fn run(kernel: &mut Kernel, around: &mut Surroundings<'_>) -> Result<(), Leave> {
    let mut restore = Restore { number: 0, waiting: Vec::new(), last: 0 };
    let mut begun = Vec::new();
    loop {
        let bytes = match around.input.fill_buf() {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => return Err(Leave::refusal(format!("standard input: {error}"))),
        };
        around.input.consume(bytes.len());
        begun.extend_from_slice(&bytes);
        let whole =
            if bytes.is_empty() { begun.len() } else { begun.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) };
        let lines: Vec<u8> = begun.drain(..whole).collect();
        let result =
            lines.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| restore.line(line, kernel, around));
        restore.flush(kernel, around)?;
        result?;
        if bytes.is_empty() {
            return if restore.last == 0 { Ok(()) } else { Err(Leave { text: String::new(), code: restore.last }) };
        }
    }
}

struct Restore {
    /// Of the line that was read last, from 1.
    number: u64,
    /// What is not sent yet.
    waiting: Vec<(u64, Command, Request)>,
    /// Exit code of the last line that was carried out.
    last: u8,
}

impl Restore {
    fn line(&mut self, line: &[u8], kernel: &mut Kernel, around: &mut Surroundings<'_>) -> Result<(), Leave> {
        self.number += 1;
        let line = String::from_utf8_lossy(line);
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.first().is_some_and(|word| word == "ipvsadm") {
            words.remove(0);
        }
        if words.is_empty() {
            return Ok(());
        }
        let command =
            command::parse(around.program, &words, around.names).map_err(|leave| named(self.number, leave))?;
        let elsewhere = if matches!(command, Command::AddService(_)) { not_ours(&command, around) } else { None };
        if let Some(leave) = elsewhere {
            self.flush(kernel, around)?;
            self.last = say(self.number, leave, around);
            return Ok(());
        }
        match change(&command) {
            Some(request) => self.waiting.push((self.number, command, request)),
            None => {
                self.flush(kernel, around)?;
                let number = self.number;
                self.last = match carry_out(&command, kernel, around) {
                    Ok(()) => 0,
                    Err(leave) => say(number, leave, around),
                };
            }
        }
        Ok(())
    }

    /// Sends what waits.
    fn flush(&mut self, kernel: &mut Kernel, around: &mut Surroundings<'_>) -> Result<(), Leave> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.first() else { return Ok(()) };
        let refusals = kernel
            .batch(waiting.iter().map(|(_, _, request)| request))
            .map_err(|error| named(first.0, no_kernel(&error, around)))?;
        for (place, (number, command, _)) in waiting.iter().enumerate() {
            self.last = match refusals.get(&place) {
                None => 0,
                Some(error) => say(*number, refused(command, error, around), around),
            };
        }
        Ok(())
    }
}

fn named(number: u64, leave: Leave) -> Leave {
    Leave { text: format!("line {number}: {}", leave.text), code: leave.code }
}

/// Says what was refused; the exit code.
fn say(number: u64, leave: Leave, around: &mut Surroundings<'_>) -> u8 {
    // A closed pipe is no reason to end.
    let _ = writeln!(around.errors, "line {number}: {}", leave.text);
    leave.code
}
