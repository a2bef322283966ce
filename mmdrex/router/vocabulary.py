"""The tokenizer of ``tiny``: a small byte-pair encoding trained on the project's own prompts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 2176
# Every number of one to three digits and every fraction of one or two is a token: a number is then
# two or three look-ups instead of a digit at a time.
NUMBERS = (
    *(f"{n:0{digits}d}" for digits in (1, 2, 3) for n in range(10**digits)),
    *(f".{n:0{digits}d}" for digits in (1, 2) for n in range(10**digits)),
)
# The first seven are Qwen2.5-VL's own, so that a chat looks the same to both.
SPECIAL = {
    token: i
    for i, token in enumerate(
        (
            "<|endoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
            "<|series_pad|>",
        )
    )
}
SERIES_TOKEN = "<|series_pad|>"
LABELS = ("up", "down", "flat")  # Listing 2's uptrend, downtrend, consolidation; a token each

# The roles and places of Qwen2.5-VL's template, written for one image, text and series at a time.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer of ``VOCABULARY`` tokens trained on ``texts``.

    Line breaks stand alone, and so do ``NUMBERS``, digits grouped by three from the right;
    everything between them may merge, spaces included, and so may a whole line of the menu of
    rules: what is the same in every prompt takes few tokens, what is measured two or three.
    """
    texts = list(texts)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(
                    r"(?<=\n)- \w+: [^\n]+"
                    r"|\.\d{1,2}|\d{1,3}(?=(?:\d{3})*(?!\d))"
                    r"|\n|(?:(?!\.\d)[^\d\n])+"
                ),
                behavior="isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=128,
        show_progress=False,
    )
    # Named as often as the texts are, rare numbers merge as well.
    tokenizer.train_from_iterator(chain(texts, ["\n".join(NUMBERS)] * len(texts)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL if token not in _NAMED],
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


_NAMED = ("<|im_end|>", "<|endoftext|>")
