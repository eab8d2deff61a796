//! Where lines are typed: with everything a terminal can do, or line by line where it can do nothing.

use std::{
    borrow::Cow,
    io::{self, BufRead},
    sync::{Arc, Mutex, PoisonError},
};

use lapwing_term::{
    console::complete::{Grammar, candidates},
    paint::Paint,
};
use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, DefaultHinter, ExternalPrinter, Highlighter, InputMode,
    MenuBuilder, MenuTextStyle, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus,
    Reedline, ReedlineMenu, Signal, Span, StyledText, Suggestion,
};
use tokio::runtime::Handle;

use super::{
    grammar,
    keys::{CHOICE, Keys, TYPING},
    known::Names,
    live::{Live, Screen},
    memory::Memory,
    menu::{Choosing, MORE, Typing},
    runner::Runner,
    stop::Stop,
};
use crate::{config::Environment, out};

/// Lines that may wait to be shown above the one that is typed.
const WAITING: usize = 100;
/// What closes the prompt.
const CLOSE: &str = "> ";

/// What somebody typed.
pub(super) enum Line {
    /// Several lines where several were pasted.
    Text(String),
    /// It was cleared with Ctrl-C.
    Cleared,
    /// There is nothing more.
    End,
}

/// Reads what somebody types.
pub(super) trait LineEditor {
    fn read(&mut self) -> io::Result<Line>;
}

/// On a terminal that can move its cursor.
pub(super) struct Full {
    reedline: Reedline,
    prompt: State,
    names: Arc<Mutex<Names>>,
}

impl Full {
    /// The editor, and where things can be shown besides.
    pub(super) fn new(runner: &Runner, live: &Live, environment: &Environment) -> (Self, Screen) {
        let names = Names::new(runner.client().clone(), runner.runtime().clone());
        let names = Arc::new(Mutex::new(names));
        let offers = Offers {
            grammar: grammar::grammar(runner.commands()),
            names: Arc::clone(&names),
        };
        let (memory, without) = Memory::open(environment, grammar::secrets());
        if let Some(why) = without {
            out::complain(&format!("lapwing: what you type is not kept: {why}\n"));
        }
        let has_colours = out::paint() == Paint::Colour;
        let printer = ExternalPrinter::new(WAITING);
        let mut screen = Screen {
            above: Some(printer.sender()),
            prompt: None,
        };
        let hints = DefaultHinter::default().with_style(Color::DarkGray.normal());
        let mut reedline = Reedline::create()
            .with_ansi_colors(has_colours)
            .use_bracketed_paste(true)
            .with_history(Box::new(memory))
            .with_hinter(Box::new(hints))
            .with_highlighter(Box::new(Unpainted))
            .with_completer(Box::new(offers))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(Choosing(choice(
                has_colours,
            )))))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(Typing(typing(
                has_colours,
            )))))
            .with_edit_mode(Box::new(Keys::new()))
            .with_external_printer(printer)
            .with_break_signal(runner.stop().typing());
        let repaint = reedline.repaint_signal();
        screen.prompt = Some(Box::new(move || repaint.request_repaint()));
        let prompt = State(live.clone());
        let editor = Self {
            reedline,
            prompt,
            names,
        };
        (editor, screen)
    }
}

impl LineEditor for Full {
    fn read(&mut self) -> io::Result<Line> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).forget();
        let read = self.reedline.read_line(&self.prompt);
        Ok(match read.map_err(io::Error::other)? {
            Signal::Success(text) => Line::Text(text),
            Signal::CtrlC => Line::Cleared,
            _ => Line::End,
        })
    }
}

/// As on any ground: nothing but what is faint has a colour of its own.
fn styles(has_colours: bool) -> MenuTextStyle {
    MenuTextStyle {
        text_style: Color::Default.normal(),
        match_style: Color::Default.bold(),
        selected_text_style: Color::Default.reverse(),
        selected_match_style: Color::Default.bold().reverse(),
        description_style: if has_colours {
            Color::DarkGray.normal()
        } else {
            Color::Default.dimmed()
        },
    }
}

fn menu(name: &str, styles: &MenuTextStyle) -> ColumnarMenu {
    ColumnarMenu::default()
        .with_name(name)
        .with_marker(CLOSE)
        .with_column_padding(2)
        .with_text_style(styles.text_style)
        .with_match_text_style(styles.match_style)
        .with_selected_text_style(styles.selected_text_style)
        .with_selected_match_text_style(styles.selected_match_style)
        .with_description_text_style(styles.description_style)
}

/// Sees what stands behind the cursor too.
fn choice(has_colours: bool) -> ColumnarMenu {
    menu(CHOICE, &styles(has_colours)).with_input_mode(InputMode::FullBuffer)
}

/// Nothing of it is chosen, so nothing looks chosen.
fn typing(has_colours: bool) -> ColumnarMenu {
    let faint = styles(has_colours).description_style;
    menu(
        TYPING,
        &MenuTextStyle {
            text_style: faint,
            match_style: faint,
            selected_text_style: faint,
            selected_match_style: faint,
            description_style: faint,
        },
    )
}

/// What may stand at the cursor, in the form of the editor.
struct Offers {
    grammar: Grammar,
    names: Arc<Mutex<Names>>,
}

impl Completer for Offers {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let found = candidates(&self.grammar, line, pos, &mut *names);
        let suggestions = found.into_iter().map(|candidate| Suggestion {
            value: candidate.value,
            description: Some(candidate.about).filter(|about| !about.is_empty()),
            span: Span::new(candidate.start, candidate.end),
            display_override: candidate.is_more.then(|| MORE.to_owned()),
            append_whitespace: !candidate.goes_on && !line[candidate.end..].starts_with(char::is_whitespace),
            ..Suggestion::default()
        });
        CompletionResult::fresh(suggestions.collect::<Vec<_>>())
    }
}

/// The line in the colour of the terminal, on whatever ground that has.
struct Unpainted;

impl Highlighter for Unpainted {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut text = StyledText::new();
        text.push((Color::Default.normal(), line.to_owned()));
        text
    }
}

/// The state at a glance, as a prompt.
struct State(Live);

impl Prompt for State {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        self.0.glance().words(out::width().unwrap_or(80)).into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        CLOSE.into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "… ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing with ",
        };
        format!(" ({failing}{}){CLOSE}", search.term).into()
    }

    fn get_prompt_color(&self) -> Color {
        let glance = self.0.glance();
        match (glance.attached, glance.down) {
            (false, _) => Color::Yellow,
            (true, 0) => Color::Green,
            (true, _) => Color::Red,
        }
    }

    fn get_indicator_color(&self) -> Color {
        Color::Default
    }
}

/// On a terminal that only takes lines.
pub(super) struct Plain {
    live: Live,
    runtime: Handle,
    stop: Stop,
}

impl Plain {
    pub(super) fn new(runner: &Runner, live: Live) -> Self {
        Self {
            live,
            runtime: runner.runtime().clone(),
            stop: runner.stop().clone(),
        }
    }
}

impl LineEditor for Plain {
    fn read(&mut self) -> io::Result<Line> {
        let words = self.live.glance().words(out::width().unwrap_or(80));
        out::print(&format!("{words}{CLOSE}"))?;
        // On a thread of its own: a signal ends no read.
        let read = self.runtime.spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let line = self.runtime.block_on(async {
            tokio::select! {
                line = read => line?,
                () = self.stop.asked() => Ok(String::new()),
            }
        })?;
        Ok(if line.is_empty() {
            Line::End
        } else {
            Line::Text(line)
        })
    }
}
