//! The terminal: taken whole, written where something changed, and given back
//! on every way out.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{execute, queue};

use crate::control::watch::draw::{Ink, Line};

/// Of a terminal that does not tell.
const SIZE: (u16, u16) = (80, 24);

/// Dropping it gives the terminal back.
pub struct Screen {
    /// As they stand there; empty: not known.
    shown: Vec<Line>,
    coloured: bool,
}

impl Screen {
    pub fn take() -> io::Result<Self> {
        give_back_on_panic();
        terminal::enable_raw_mode()?;
        let screen = Self {
            shown: Vec::new(),
            coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(screen)
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        let (columns, rows) = terminal::size().unwrap_or(SIZE);
        (usize::from(columns.max(1)), usize::from(rows.max(1)))
    }

    /// What stands there is no longer known.
    pub fn forget(&mut self) {
        self.shown.clear();
    }

    pub fn paint(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        if self.shown.len() != lines.len() {
            self.shown.clear();
            queue!(out, Clear(ClearType::All))?;
        }
        for (row, line) in (0..).zip(lines) {
            if self.shown.get(usize::from(row)) == Some(line) {
                continue;
            }
            // First: behind the last column it would take that one along.
            queue!(out, MoveTo(0, row), Clear(ClearType::UntilNewLine))?;
            for (ink, text) in line {
                self.dip(&mut out, *ink)?;
                queue!(out, Print(text), SetAttribute(Attribute::Reset), ResetColor)?;
            }
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()?;
        self.shown = lines.to_vec();
        Ok(())
    }

    fn dip(&self, out: &mut impl Write, ink: Ink) -> io::Result<()> {
        let colour = match ink {
            Ink::Plain => return Ok(()),
            Ink::Bold => return queue!(out, SetAttribute(Attribute::Bold)),
            Ink::Dim => return queue!(out, SetAttribute(Attribute::Dim)),
            Ink::Reversed => return queue!(out, SetAttribute(Attribute::Reverse)),
            Ink::Good => Color::Green,
            Ink::Warning => Color::Yellow,
            Ink::Bad => Color::Red,
        };
        match self.coloured {
            true => queue!(out, SetForegroundColor(colour)),
            false => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // Nowhere is left to report that this failed.
    let _ = execute!(
        io::stdout(),
        ResetColor,
        EnableLineWrap,
        Show,
        LeaveAlternateScreen
    );
    let _ = terminal::disable_raw_mode();
}

/// So that the panic's words are seen, too.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}
