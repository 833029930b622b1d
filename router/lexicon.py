"""Word lists of the dense features, English and Chinese side by side. Data only; ``router/features.py`` counts the hits.

An English entry matches whole words; one with a space matches the phrase. Chinese entries match anywhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import add
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One feature's words."""

    cap: int
    """Hits from which the feature is 1."""
    entries: frozenset[str]
    """English words and phrases of up to four words, Chinese words of up to four characters."""


def lexical_features(words: str, compact: str, *, has_chinese: bool) -> list[float]:
    """Hits over cap, at most 1, of each lexicon in the order of ``LEXICONS``; an entry counts once (len(LEXICONS),).

    Args:
        words: The text's words between single spaces.
        compact: The text with single spaces.
        has_chinese: Whether Chinese entries can occur at all.
    """
    hits = [0] * len(LEXICONS)
    for entry in _known(words, compact, has_chinese=has_chinese):
        for place in _PLACES[entry]:
            hits[place] += 1
    return [min(count / lexicon.cap, 1.0) for count, lexicon in zip(hits, LEXICONS.values(), strict=True)]


def _known(words: str, compact: str, *, has_chinese: bool) -> Iterator[str]:
    """Every entry of any lexicon that occurs in the text, once. Sets of all runs are cheaper than a search per entry."""
    tokens = words.split()
    runs = tokens
    yield from _ENGLISH.intersection(runs)
    for size in range(1, _LONGEST):
        runs = list(map(_join, runs, tokens[size:]))
        yield from _ENGLISH.intersection(runs)
    if has_chinese:
        pieces = list(compact)
        yield from _CHINESE.intersection(pieces)
        for size in range(1, _LONGEST):
            pieces = list(map(add, pieces, compact[size:]))
            yield from _CHINESE.intersection(pieces)


_join: Final = "{} {}".format
_LONGEST: Final = 4


def _lexicon(cap: int, english: str, chinese: str) -> Lexicon:
    return Lexicon(cap=cap, entries=frozenset([*(entry.strip() for entry in english.split(",")), *chinese.split()]))


LEXICONS: Final[Mapping[str, Lexicon]] = MappingProxyType({
    "constraints": _lexicon(
        3,
        "must, should, ensure, constraint, constraints, requirement, requirements, without, within, except, exactly, limit, limited, "
        "budget, deadline, at least, at most, no more than, less than, more than, make sure, as well as, taking into account, subject to, "
        "such that, given that",
        "必须 至少 最多 不超过 不少于 不得 不能 要求 限制 预算 以内 之内 确保 满足 条件 约束 考虑 兼顾 同时",
    ),
    "deliverable": _lexicon(
        2,
        "report, essay, article, paper, proposal, presentation, slides, spreadsheet, table, outline, document, spec, specification, memo, "
        "whitepaper, thesis, chapter, blueprint, checklist, matrix, dashboard, template, business plan, case study, test suite",
        "报告 论文 方案 表格 文档 提纲 大纲 清单 教案 手册 演讲稿 策划 说明书 计划书 思维导图 综述 幻灯片",
    ),
    "planning": _lexicon(
        2,
        "plan, plans, planning, schedule, itinerary, roadmap, strategy, timeline, milestones, budget, organize, organise, allocate, "
        "prioritize, day by day, step plan, week by week, curriculum, syllabus, logistics",
        "规划 计划 安排 行程 路线 日程 时间表 策略 步骤 里程碑 分配 优先级 攻略 预算 课程表 部署",
    ),
    "comparison": _lexicon(
        2,
        "compare, comparing, comparison, versus, vs, tradeoffs, differences, contrast, advantages, disadvantages, rank, ranking, benchmark, "
        "pros and cons, trade offs, better than, difference between, strengths and weaknesses",
        "对比 比较 区别 差异 优缺点 优劣 利弊 权衡 横向 异同 哪个更 排名 排序",
    ),
    "proof": _lexicon(
        1,
        "prove, proof, derive, derivation, theorem, lemma, disprove, counterexample, induction, contradiction, irrational, converges, "
        "bijective, show that, if and only if, for all",
        "证明 推导 求证 定理 引理 反例 归纳法 反证 无理数 收敛 当且仅当",
    ),
    "research": _lexicon(
        2,
        "research, literature, survey, comprehensive, systematic, evidence, sources, citations, studies, academic, thorough, detailed, "
        "investigate, scholarly, empirical, peer reviewed, state of the art, in depth, deep dive, market share, current state",
        "调研 研究 综述 文献 系统 全面 深入 详细 学术 论文 数据 来源 引用 调查 现状 趋势 未来 梳理 收集 整理 资料",
    ),
    "analysis": _lexicon(
        2,
        "analyze, analyse, analysis, evaluate, assess, assessment, implications, impact, causes, factors, framework, model, forecast, "
        "predict, recommend, recommendations, optimize, optimise, critique, diagnose, root cause",
        "分析 评估 影响 原因 因素 框架 模型 预测 建议 优化 诊断 机制 路径 可行性 风险 论述 探讨",
    ),
    "coding": _lexicon(
        2,
        "function, implement, refactor, debug, algorithm, python, javascript, typescript, java, rust, sql, regex, api, class, method, code, "
        "script, compile, endpoint, database, query, async, kubernetes, docker, react, html, css, bash, program, unit tests, unit test, "
        "write a function, time complexity, stack trace, data structure",
        "函数 代码 编写 实现 算法 程序 脚本 数据库 接口 单元测试 复杂度 报错 重构 调试 类 正则 编程 爬虫 抓取 网页 前端 后端 服务器",
    ),
    "mathematics": _lexicon(
        2,
        "probability, integral, derivative, equation, triangle, matrix, polynomial, prime, angle, area, volume, speed, ratio, percentage, "
        "average, sum, remainder, integer, integers, permutation, combinations, velocity, mass, energy, electron, voltage, solve, "
        "calculate, compute, evaluate, perimeter, radius, circle, digits, odds, expected value, square root, how long will, interest rate",
        "概率 积分 导数 方程 三角形 矩阵 多项式 质数 面积 体积 速度 比例 平均 之和 余数 整数 排列 组合 周长 半径 圆 求解 "
        "计算 数列 函数 利润 相遇 追及 工程 浓度 千米 利率 速率",
    ),
    "quantity_question": _lexicon(
        1,
        "how many, how much, how far, how fast, how old, how long, what is the total, what percentage, what fraction, find the, in total, "
        "altogether, what was the, total cost, on average",
        "多少 几个 几天 几人 几元 几只 几本 几小时 几分钟 一共 共有 总共 还剩 剩下 平均每 多远 多长 几倍 几条 几棵 几辆 几岁 几次 几分之几 百分之几",
    ),
    "quantity_words": _lexicon(
        3,
        "half, twice, double, triple, thrice, dozen, quarter, third, each, every, per, remaining, left, total, percent, times, sold, "
        "bought, spent, earns, costs, shared, equally, more, fewer, less, altogether, rest, another",
        "一半 倍 每 各 剩 共 买 卖 花了 用去 吃了 平均分 分给 多出 少了 比 其余 占 又 原来 第一天 第二天 单价 总价",
    ),
    "units": _lexicon(
        2,
        "dollars, dollar, cents, miles, mile, km, kilometers, meters, feet, inches, hours, minutes, days, weeks, pounds, kg, grams, liters, "
        "gallons, cups, apples, students, boxes, pages, mph, euros, yuan",
        "元 角 千克 公斤 克 米 厘米 千米 公里 小时 分钟 天 箱 袋 只 棵 本 页 辆 吨 升 斤 块 支 枝 朵 筐 盒",
    ),
    "sequence": _lexicon(
        3,
        "first, second, then, next, finally, afterwards, before, after, until, once, step, steps, step by step, followed by, and then, for each",
        "首先 其次 然后 接着 最后 之后 之前 一步 步骤 第一 第二 第三 分别 逐步 依次 再",
    ),
    "creative": _lexicon(
        1,
        "story, poem, novel, screenplay, lyrics, sonnet, character, plot, dialogue, monologue, fanfiction, worldbuilding, write a story, short story",
        "小说 故事 剧本 诗 歌词 散文 作文 随笔 人物 情节 对话 续写",
    ),
    "tools": _lexicon(
        2,
        "search, browse, download, latest, news, file, folder, directory, website, sources, online, spreadsheet, csv, pdf, fetch, extract, "
        "look up, as of, find out, google",
        "搜索 查找 最新 文件 网站 下载 网上 检索 新闻 资料 来源 截至 附件",
    ),
    "greeting": _lexicon(
        1,
        "hi, hello, hey, yo, hiya, howdy, greetings, sup, morning, good morning, good evening, good afternoon, good night, how are you, "
        "what s up, nice to meet you, are you there, who are you, how s it going, what can you do, "
        "your name, are you a, who made you, how old are you",
        "你好 您好 嗨 哈喽 早上好 晚上好 下午好 晚安 早安 在吗 在么 你是谁 你叫什么 最近如何 吃了吗 早啊 中午好 "
        "你会什么 你能做 你可以做 你会做 你有什么 你是什么 你多大 你几岁",
    ),
    "courtesy": _lexicon(
        1,
        "thanks, thank, thx, bye, goodbye, ok, okay, cool, great, nice, sure, yes, no, yep, nope, lol, haha, sorry, awesome, perfect, "
        "cheers, got it, see you, never mind, sounds good, no problem",
        "谢谢 多谢 感谢 再见 拜拜 好的 好吧 嗯 哈哈 不客气 辛苦 没事 明白 知道了 可以 对不起 抱歉 真棒 太好了",
    ),
    "assistant": _lexicon(
        1,
        "alarm, timer, remind, reminder, weather, forecast, temperature, play, music, song, call, text, lights, volume, directions, "
        "traffic, restaurant, reservation, recipe, calories, flight, uber, taxi, playlist, joke, calendar, meeting, bill, balance, "
        "spelling, spell, translate, what time, how do you say, on my calendar, shopping list, to do list",
        "天气 闹钟 提醒 播放 音乐 打电话 餐馆 酒店 景点 地铁 出租车 门票 地址 评分 推荐 电话 营业时间 人均 附近 几点 翻译 怎么说 笑话 温度 周边",
    ),
    "account": _lexicon(
        1,
        "card, account, pin, transfer, payment, refund, cash, atm, password, order, charge, fee, bank, credit, withdraw, top up, my card, my account",
        "银行卡 账户 密码 转账 退款 订单 余额 手续费 快递 会员",
    ),
    "simple_question": _lexicon(
        1,
        "what is, what s, who is, who was, when is, when was, where is, where are, what does, what are, which country, capital of, meaning "
        "of, define, definition, synonym, what color, can you, do you, tell me, is it, what year, how do i, how tall, how do you spell",
        "什么是 是什么 是谁 在哪 哪里 什么意思 什么时候 是哪 叫什么 哪一年 吗 呢 有哪些 首都 怎么读 怎么写 的意思 近义词 反义词",
    ),
    "small_task": _lexicon(
        1,
        "translate, rephrase, paraphrase, shorten, summarize, summarise, proofread, rewrite, spell, grammar, classify, fix the typos, one "
        "sentence, in one word, make it shorter, more polite, subject line",
        "翻译 改写 缩写 总结 概括 摘要 润色 分类 提取 一句话 造句 改错 换句话说 关键词 情感",
    ),
    "tasks": _lexicon(
        4,
        "write, compare, analyze, analyse, recommend, design, list, explain, summarize, evaluate, propose, estimate, create, include, calculate, "
        "describe, identify, discuss, develop, justify, outline, suggest, draft, prepare, provide, investigate, find, plan, organize, book, "
        "cover, rank, assess, consider, break down, work out, put together, come up with",
        "写 比较 对比 分析 推荐 设计 列出 说明 总结 评估 提出 估算 制定 包括 包含 计算 描述 讨论 给出 论证 规划 "
        "整理 收集 调研 撰写 归纳 阐述 考虑 安排 附上 预测",
    ),
    "deciding": _lexicon(
        1,
        "recommend one, which one, pick one, choose between, help me choose, help me decide, best option, which is better, should i, worth it, "
        "make a decision, decide between, the best one, which of them, best fit, weigh up, better for",
        "怎么选 选哪个 选哪 哪个好 哪款 哪种更 哪个更 推荐一 选一 选一款 帮我选 值不值 值得 该不该 划算 更适合 最合适 性价比 决定",
    ),
    "everyday_plan": _lexicon(
        2,
        "trip, travel, vacation, holiday, wedding, party, diet, meal plan, workout, fitness, training, moving, move, renovation, savings, saving, "
        "retirement, career, savings plan, study plan, monthly, weekly, per month, per week, a week, month plan, on a budget, guests",
        "旅行 旅游 婚礼 聚会 饮食 食谱 减肥 健身 训练 搬家 装修 存钱 储蓄 理财 退休 职业 "
        "每周 每月 每天 一周 一个月 学习 备考 自驾 套餐 换工作 年会 团建",
    ),
    "continuation": _lexicon(
        1,
        "continue, go on, keep going, carry on, go ahead, proceed, and then, what else, more, again, next",
        "继续 接着说 往下 然后呢 还有呢 下一步 再来 接着",
    ),
})
"""Feature name to word list; the order is the order of the features."""


def _places() -> dict[str, tuple[int, ...]]:
    """Each entry's lexicons, by their place."""
    places: dict[str, tuple[int, ...]] = {}
    for place, lexicon in enumerate(LEXICONS.values()):
        for entry in lexicon.entries:
            places[entry] = (*places.get(entry, ()), place)
    return places


def _ascii(entries: Iterable[str], *, is_ascii: bool) -> frozenset[str]:
    return frozenset(entry for entry in entries if entry.isascii() == is_ascii)


_PLACES: Final = _places()
_ENGLISH: Final = _ascii(_PLACES, is_ascii=True)
_CHINESE: Final = _ascii(_PLACES, is_ascii=False)
