"""A made-up home a language: rooms, floors and devices for the lists that the grammars leave open."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Home:
    """areas, floors: names as a resident says them. devices: domain -> names."""

    areas: tuple[str, ...]
    floors: tuple[str, ...]
    devices: Mapping[str, tuple[str, ...]]


_ENGLISH = Home(
    areas=(
        "kitchen",
        "living room",
        "bedroom",
        "hallway",
        "bathroom",
        "garage",
        "attic",
        "office",
        "nursery",
        "balcony",
        "cellar",
        "dining room",
        "guest room",
        "laundry room",
        "library",
        "porch",
    ),
    floors=("ground", "first", "second", "basement"),
    devices={
        "light": ("ceiling", "bedside", "chandelier", "pendant", "mirror"),
        "switch": ("coffee maker", "kettle", "christmas tree", "printer"),
        "fan": ("tower fan", "box fan"),
        "media_player": ("tv", "radio", "soundbar", "record player"),
        "climate": ("thermostat", "heat pump", "radiator"),
        "cover": ("roller blind", "velvet curtain", "skylight"),
        "valve": ("sprinkler", "water main"),
        "lock": ("front door", "back door"),
        "scene": ("movie night", "good morning", "party time"),
        "script": ("bedtime routine", "vacation mode"),
        "button": ("doorbell test", "restart router"),
    },
)

_CHINESE = Home(
    areas=("厨房", "客厅", "主卧", "走廊", "浴室", "车库", "阁楼", "书房", "婴儿房", "阳台", "地窖", "餐厅", "客房"),
    floors=("一楼", "二楼", "地下室", "顶层"),
    devices={
        "light": ("吊灯", "阅读灯", "落地灯", "镜前灯"),
        "switch": ("咖啡机", "热水壶", "打印机"),
        "fan": ("塔扇", "排气扇"),
        "media_player": ("电视", "收音机", "回音壁", "点唱机"),
        "climate": ("温控器", "地暖", "热泵"),
        "cover": ("卷帘", "铁闸", "丝绒窗帘"),
        "valve": ("喷灌阀", "总水阀"),
        "lock": ("前门", "后门"),
        "scene": ("观影之夜", "早安", "派对时间"),
        "script": ("睡前流程", "度假模式"),
        "button": ("门铃测试", "重启路由器"),
    },
)  # fmt: skip

HOMES: Mapping[str, Home] = {"en": _ENGLISH, "zh": _CHINESE}
