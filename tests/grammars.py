"""Odd texts, and what two grammar engines make of a pattern."""

import llguidance
from hypothesis import strategies as st

from codlocal.generation.constraint import words

ODD_TEXTS = (
    "it 's good , but i did n't like `` the soup '' -lrb- ca n't say why -rrb-",
    "I DO N'T CARE , wo n’t go",
    'He said "never again" and left.',
    r"C:\temp\new and \"quoted\" \u0041 and \\ too",
    "Loved it 😀👍🏽 so much!!! 10/10 👩‍👩‍👧",
    "See https://example.com/a-b?x=1&y={2}#top for more (really)",
    "Fish &amp; chips &lt;b&gt;bad&lt;/b&gt; [sic] {so} it goes",
    "这家餐厅的服务很差,但是食物很好吃。",
    "Das Café war schön, the naïve façade wasn’t.",
    "First line is good\nsecond line\tis bad\r\nthird  line",
    "^start $end .* a|b (c) [d] +? \\d {1,2} # x ~ @ <e> / - it's",
    "two  spaces and\u00a0a hard one\u2028and a separator\u0085next",
    "THE FOOD WAS GREAT and I LOVE IT",
    "...not a word... just one",
    "control \x01 and \x7f characters",
    "המסעדה הייתה טובה, but الخدمة كانت سيئة",
    "cafe\u0301 was nai\u0308ve and Zu\u0308rich too",
    "zero\u200bwidth and soft\u00adhyphen \ufeffmarks here",
    " ".join(f"word{number} 'n' more." for number in range(340)),
)


def grammar_problem(pattern):
    return llguidance.LLMatcher.validate_grammar(llguidance.grammar_from("regex", pattern))


TOKENIZER = llguidance.LLTokenizer("byte")


def guidance_accepts(pattern, reply):
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.grammar_from("regex", pattern))
    tokens = TOKENIZER.tokenize_str(reply)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    st.lists(
        st.sampled_from(['"', "\\", "\n", " ", "good", "Bad", "it's", "/", "&amp;", "😀", "很好"]),
        min_size=1,
        max_size=15,
    ).map("".join),
).filter(words)
