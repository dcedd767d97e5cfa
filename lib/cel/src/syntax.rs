//! What is expected where, and what is said when something else stands there.
//!
//! Clients see these texts, so they are those of the parser that cel-go uses: a token too many is
//! left out, a missing one is thought to be there, and anything else ends the parsing. Only the
//! first complaint is sure to be the same; what the original makes of the rest is not followed.

use crate::lexer::{self, Tok, Token};
use crate::parser::{Abort, Parse, Parser, calc_operator, relation_operator};

/// What stands around an expression: decides what may come behind it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Around {
    Group,
    Arguments,
    List,
    Key,
    Entry,
    Index,
    Choice,
}

impl Around {
    /// Tokens that end an expression here.
    fn ends(self) -> &'static [&'static str] {
        match self {
            Self::Group => &[")"],
            Self::Arguments => &[")", ","],
            Self::List => &["]", ","],
            Self::Key | Self::Choice => &[":"],
            Self::Entry => &["}", ","],
            Self::Index => &["]"],
        }
    }
}

/// The tokens that an expression may begin with, in the order in which they are listed.
fn expression_start(also: &[&str]) -> String {
    const SIGNS: [&str; 11] = ["[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?"];
    const ALWAYS: [&str; 6] = ["[", "{", "(", ".", "-", "!"];
    let listed = SIGNS
        .iter()
        .filter(|s| ALWAYS.contains(s) || also.contains(s));
    let listed: Vec<String> = listed.map(|s| format!("'{s}'")).collect();
    format!(
        "{{{}, 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}}",
        listed.join(", ")
    )
}

pub(crate) fn starts_expression(kind: Tok) -> bool {
    match kind {
        Tok::Punct(p) => matches!(p, "[" | "{" | "(" | "." | "-" | "!"),
        Tok::EscapedIdent | Tok::In | Tok::Eof => false,
        _ => true,
    }
}

impl Parser<'_> {
    pub(crate) fn syntax_error(&mut self, token: Token, message: &str) -> Abort {
        let text = format!("Syntax error: {message}");
        if self.source.chars.is_empty() {
            self.issues.report_empty(text);
        } else {
            let at = self.source.location(token.start);
            self.issues.report(Some(at), text);
        }
        Abort
    }

    /// Takes a token that has to be there. One token too many is left out and one that is missing
    /// is thought to be there, if that makes sense of what follows: parsing goes on.
    pub(crate) fn expect(&mut self, punct: &'static str, expecting: &str) -> Parse<()> {
        if self.take(punct).is_some() {
            return Ok(());
        }
        let token = self.peek();
        let text = self.shown(token);
        if self.peek_at(1) == Tok::Punct(punct) && token.kind != Tok::Eof {
            self.syntax_error(
                token,
                &format!("extraneous input '{text}' expecting {expecting}"),
            );
            self.at += 2;
            return Ok(());
        }
        if self.may_follow(token.kind, punct) && !expecting.starts_with('{') {
            self.syntax_error(token, &format!("missing '{punct}' at '{text}'"));
            return Ok(());
        }
        Err(self.syntax_error(
            token,
            &format!("mismatched input '{text}' expecting {expecting}"),
        ))
    }

    /// Whether a token may stand behind `punct`, if that were there.
    pub(crate) fn may_follow(&self, kind: Tok, punct: &str) -> bool {
        if punct == ":" {
            return starts_expression(kind);
        }
        if relation_operator(kind).is_some() || calc_operator(kind).is_some() {
            return true;
        }
        let Tok::Punct(p) = kind else {
            return kind == Tok::Eof && self.around.is_empty();
        };
        matches!(p, "." | "[" | "?" | "&&" | "||")
            || self
                .around
                .last()
                .is_some_and(|around| around.ends().contains(&p))
    }

    pub(crate) fn bad_field(&mut self, dot: Token, token: Token, optional: bool) -> Abort {
        let text = self.shown(token);
        if optional {
            let named = matches!(self.peek().kind, Tok::Ident | Tok::EscapedIdent);
            let how = if named { "extraneous" } else { "mismatched" };
            let what = format!("{how} input '{text}' expecting {{IDENTIFIER, ESC_IDENTIFIER}}");
            let abort = self.syntax_error(token, &what);
            if !named {
                self.error_token(token, "unsupported ident kind");
            }
            return abort;
        }
        let what = self.dotted(dot, token);
        self.syntax_error(token, &what)
    }

    /// What is said of a token behind a dot that is no name.
    pub(crate) fn dotted(&self, dot: Token, token: Token) -> String {
        match token.kind {
            // Only without a blank between: seen of the original, by the oracle.
            Tok::True | Tok::False | Tok::Null if dot.end == token.start => {
                format!(
                    "mismatched input '{}' expecting IDENTIFIER",
                    self.shown(token)
                )
            }
            _ => self.no_alternative(dot, token),
        }
    }

    /// Two tokens that make no sense together, with all that stands between them.
    pub(crate) fn no_alternative(&self, from: Token, to: Token) -> String {
        let text: String = self.source.chars[from.start as usize..to.end as usize]
            .iter()
            .collect();
        format!("no viable alternative at input '{}'", lexer::shown(&text))
    }

    /// Complains about what cannot begin an expression; what can be left out is.
    pub(crate) fn check_start(&mut self, also: &[&str]) -> Parse<()> {
        let token = self.peek();
        if starts_expression(token.kind) {
            return Ok(());
        }
        let (text, expecting) = (self.shown(token), expression_start(also));
        let negated = self.at > 0 && self.tokens[self.at - 1].kind == Tok::Punct("!");
        let next = self.peek_at(1);
        let fits = starts_expression(next)
            || also
                .iter()
                .any(|a| matches!(next, Tok::Punct(p) if p == *a));
        let skip = fits && token.kind != Tok::Eof;
        if self.at > 0 && self.is_sign(self.at - 1) {
            let what = self.no_alternative(self.tokens[self.at - 1], token);
            self.syntax_error(token, &what);
        }
        let what = if skip || negated {
            format!("extraneous input '{text}' expecting {expecting}")
        } else {
            format!("mismatched input '{text}' expecting {expecting}")
        };
        let abort = self.syntax_error(token, &what);
        if !skip {
            return Err(abort);
        }
        self.at += 1;
        Ok(())
    }

    /// Complains about what cannot be the first element or entry.
    pub(crate) fn check_first(&mut self, also: &[&str]) -> Parse<()> {
        if self.peek().kind == Tok::Punct("?") {
            Ok(())
        } else {
            self.check_start(also)
        }
    }

    /// Whether what stands behind a comma is another element, and not the end.
    pub(crate) fn another(&self) -> bool {
        self.peek().kind == Tok::Punct("?") || starts_expression(self.peek().kind)
    }

    /// Whether a token is a minus that has no left side.
    fn is_sign(&self, at: usize) -> bool {
        let left = at.checked_sub(1).map(|i| self.tokens[i].kind);
        let ends_value = |kind: Tok| match kind {
            Tok::Punct(p) => matches!(p, ")" | "]" | "}"),
            Tok::In => false,
            _ => true,
        };
        self.tokens[at].kind == Tok::Punct("-") && !left.is_some_and(ends_value)
    }

    /// Takes the comma between two elements; a token in front of it that is too many is left out.
    pub(crate) fn comma(&mut self, close: &'static str, expecting: &str) -> bool {
        let token = self.peek();
        let ends = [Tok::Punct(close), Tok::Punct(","), Tok::Eof].contains(&token.kind);
        if self.peek_at(1) == Tok::Punct(",") && !ends {
            let text = self.shown(token);
            self.syntax_error(
                token,
                &format!("extraneous input '{text}' expecting {expecting}"),
            );
            self.at += 1;
        }
        self.take(",").is_some()
    }
}
