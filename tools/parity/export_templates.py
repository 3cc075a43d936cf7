"""Golden file of chat templates: the idioms of published models, as transformers renders them.

The templates are written for this file, in the ways in which published ones are written; each is rendered for a
conversation of one turn and for one of three.
"""

import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

OUT = Path(__file__).resolve().parents[2] / "crates" / "data" / "tests" / "golden" / "chat_templates.json"
WORDS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
LOOP = "{% for message in messages %}"
END = "{% endfor %}"
TEMPLATES = {
    "marked turns": LOOP
    + "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "default system": "{% if messages[0]['role'] != 'system' %}{{ '<|sys|>You help.<|end|>\n' }}{% endif %}"
    + LOOP
    + "{{'<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n'}}"
    + END,
    "headers and trim": LOOP
    + "{% set content = '<|head|>' + message['role'] + '<|/head|>\n\n' + message['content'] | trim + '<|eot|>' %}"
    + "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    + END,
    "instructions in brackets": "{{ bos_token }}"
    + LOOP
    + "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}{% endif %}"
    + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    + "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}"
    + END,
    "slices": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% else %}"
    + "{% set rest = messages %}{% endif %}{% for m in rest[-3:] %}[{{ m.role[0] }}]{{ m.content[:40] }}"
    + END
    + "{{ (messages[::-1] | first).content }}",
    "namespaces": "{%- set ns = namespace(found=false, text='') -%}"
    + "{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.found = true -%}"
    + "{%- set ns.text = ns.text ~ '|' ~ m.content -%}{%- endif -%}{%- endfor -%}"
    + "{{ ns.text if ns.found else 'none' }}",
    "macros": "{%- macro turn(role, text) -%}<{{ role | upper }}>{{ text }}</{{ role | upper }}>{%- endmacro -%}"
    + "{%- for m in messages -%}{{ turn(m.role, m['content']) }}{%- endfor -%}",
    "no tools": "{% if tools is not none and tools %}{{ tools | tojson }}{% endif %}"
    + "{%- if not tools %}plain {% endif %}{{ messages[-1]['content'] }}",
    "tools undefined": "{% if tools is defined and tools %}with{% else %}without{% endif %} {{ messages[-1].content }}"
    + "{% if documents %}documents{% endif %}{% if enable_thinking is defined and enable_thinking is false %}no{% endif %}",
    "json": "{{ messages | tojson }}\n{{ messages[0] | tojson(indent=2) }}",
    "generation": LOOP
    + "{%- if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}"
    + "{%- else %}{{ message.content + '\n' }}{%- endif %}"
    + END,
    "loop controls": LOOP
    + "{% if message.role == 'assistant' %}{% continue %}{% endif %}{% if loop.index > 4 %}{% break %}{% endif %}"
    + "{{ message.content }};"
    + END,
    "loop variables": LOOP
    + "{{ loop.index }}/{{ loop.length }}{% if loop.first %} first{% endif %}{% if loop.last %} last{% endif %}"
    + "{% if loop.previtem is defined %} after {{ loop.previtem.role }}{% endif %} {{ message.content }}\n"
    + END,
    "filters": "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('; ') }}"
    + "{{ messages | rejectattr('role', 'equalto', 'user') | list | length }}",
    "methods of texts": LOOP
    + "{% if message.content.startswith('a') or message.content.endswith('?') %}{{ message.content.title() }}"
    + "{% else %}{{ message.content.replace(' ', '_', 1).lower().split('_')[-1] }}{% endif %}|"
    + END,
    "methods of dictionaries": LOOP
    + "{% for key, value in message.items() %}{{ key }}={{ value }},{% endfor %}{{ message.get('name', 'nobody') }}"
    + "{{ message.keys() | list | length }}"
    + END,
    "lstrip": LOOP + "{{ message.content.lstrip().rstrip('?').lstrip('a ') }}{{ '\n' if not loop.last }}" + END,
    "splitlines": "{{ messages[-1].content.splitlines() | length }}{{ messages[-1].content.splitlines()[0] }}",
    "thinking": LOOP
    + "{% set text = message.content %}{% if '</think>' in text %}{% set text = text.split('</think>')[-1].lstrip('\n') %}"
    + "{% endif %}{{ text }}{{ eos_token }}"
    + END,
    "either form": LOOP
    + "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    + "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    + END,
    "mapping test": LOOP
    + "{{ message is mapping }}{{ message.content is string }}{{ messages is iterable }}{{ message.role in ['user'] }}"
    + " {{ message.content }}"
    + END,
    "numbers": "{{ (messages | length) // 2 }} {{ 7 / 2 }} {{ 7 % 3 }} {{ 2 ** 3 }} {{ 1.0 }} {{ 10 ~ 'x' }}"
    + " {{ messages[-1].content }}",
    "python values": "{{ true }} {{ none }} {{ [1, 'a', none] }} {{ {'a': true} }} {{ messages[-1].content }}",
    "conditions": "{{ 'one' if messages | length == 1 else 'more' }}{{ ' x' if false }} {{ messages[-1].content }}"
    + "{{ '' or 'empty' }}{{ undefined_name or 'nothing' }}{{ undefined_name | default('d') }}",
    "whitespace control": "  {%- for m in messages %}\n    {{- m.content }}\n  {%- endfor %}\n{{ '' -}}\n end\n",
    "trimmed blocks": "{% for m in messages %}\n    {% if m.role == 'user' %}\nU {{ m.content }}\n    {% endif %}\n{% endfor %}\n",
    "comments": "{# nothing #}{{ messages[-1].content }}{#- trimmed -#}  \n",
    "raw": "{% raw %}{{ bos }}{% endraw %}{{ messages[-1].content }}",
    "set blocks": "{% set system %}You help {{ messages | length }}.{% endset %}{{ system }} {{ messages[-1].content }}",
    "concatenation": "{{ bos_token ~ messages[0].role ~ ':' ~ messages[0].content + eos_token }}",
    "recursion over roles": "{% set roles = {'user': 'Q', 'assistant': 'A'} %}"
    + LOOP
    + "{{ roles[message.role] }}: {{ message.content }}\n"
    + END
    + "A:",
    "indent": "{{ messages[-1].content | indent(2) }}|{{ 'a\nb' | indent(4, true) }}",
    "sorted": "{{ {'b': 1, 'a': 2} | dictsort }} {{ [3, 1] | sort }} {{ [1, 2] | sum }} {{ messages[-1].content }}",
    "unknown special": "{{ mask_token }}{{ unk_token }}{{ messages[-1].content }}",
}
CONVERSATIONS = [
    [{"role": "user", "content": "a cat and two dogs?"}],
    [
        {"role": "user", "content": " what is\nthis? "},
        {"role": "assistant", "content": "<think>hm</think>\n\nTwo \"dogs\" & a café"},
        {"role": "user", "content": "and now?"},
    ],
]


def main():
    cases = []
    for name, template in TEMPLATES.items():
        for messages in CONVERSATIONS:
            rendered, _ = render_jinja_template(
                conversations=[messages],
                chat_template=template,
                add_generation_prompt=True,
                **WORDS,
            )
            cases.append({"name": name, "template": template, "messages": messages, "rendered": rendered[0]})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"words": WORDS, "cases": cases}, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(TEMPLATES)} templates, {len(cases)} renderings")


if __name__ == "__main__":
    main()
