"""Three made-up homes a language: rooms, floors and devices for the lists that the grammars leave open.

No name is in two homes, so a model that answers for the holdout home has to copy names it was never tuned on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.samples import Split


@dataclass(frozen=True)
class Home:
    """areas, floors: names as a resident says them. devices: domain -> names."""

    areas: tuple[str, ...]
    floors: tuple[str, ...]
    devices: Mapping[str, tuple[str, ...]]


_ENGLISH = {
    Split.TRAIN: Home(
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
            "entrance",
            "family room",
            "back yard",
            "closet",
            "gym",
            "master bedroom",
            "veranda",
        ),
        floors=("first", "upper", "basement", "garden level"),
        devices={
            "light": ("ceiling", "bedside", "chandelier", "floor lamp", "neon sign", "stair strip", "vanity", "spot"),
            "switch": ("coffee maker", "kettle", "space heater", "christmas tree", "printer", "aquarium pump"),
            "fan": ("tower fan", "exhaust fan", "box fan", "cooker hood"),
            "media_player": ("tv", "kitchen radio", "soundbar", "bedroom speaker", "record player", "big screen"),
            "climate": ("thermostat", "main heater", "wall unit", "floor heating"),
            "cover": ("roller blind", "garage gate", "velvet curtain", "skylight"),
            "valve": ("sprinkler valve", "water main"),
            "lock": ("front door", "back door", "gun safe"),
            "scene": ("movie night", "good morning", "party time", "dinner"),
            "script": ("bedtime routine", "leaving home", "vacation mode"),
            "button": ("doorbell test", "restart router"),
        },
    ),
    Split.DEV: Home(
        areas=("dining room", "sun room", "laundry", "mud room", "patio", "studio", "spare room", "foyer"),
        floors=("ground", "third"),
        devices={
            "light": ("mirror", "picture frame", "lantern", "shelf strip"),
            "switch": ("rice cooker", "air purifier", "electric blanket"),
            "fan": ("pedestal fan", "desk fan"),
            "media_player": ("home theater", "studio monitor", "alarm clock"),
            "climate": ("air conditioner", "radiator"),
            "cover": ("sun sail", "patio door"),
            "valve": ("gas tap",),
            "lock": ("side door", "tool shed"),
            "scene": ("sunset", "homework"),
            "script": ("guest welcome", "wake up call"),
            "button": ("feed the cat",),
        },
    ),
    Split.HOLDOUT: Home(
        areas=(
            "library",
            "guest room",
            "pantry",
            "playroom",
            "workshop",
            "den",
            "porch",
            "conservatory",
            "utility room",
            "sauna",
            "greenhouse",
            "wine cave",
            "music corner",
            "boot room",
        ),
        floors=("second", "lower", "top"),
        devices={
            "light": ("pendant", "torchiere", "fairy string", "piano", "cabinet", "flood beam"),
            "switch": ("toaster", "dehumidifier", "fountain", "waffle iron", "sewing machine"),
            "fan": ("propeller", "whole house fan", "misting fan"),
            "media_player": ("jukebox", "projector", "karaoke box", "shower speaker", "game console"),
            "climate": ("heat pump", "pellet stove", "swamp cooler"),
            "cover": ("roman shade", "barn door", "pergola roof"),
            "valve": ("drip line", "pool inlet"),
            "lock": ("north gate", "medicine chest", "bike shed"),
            "scene": ("rainy day", "yoga", "candlelight"),
            "script": ("harvest cycle", "night patrol"),
            "button": ("call elevator", "water the ferns"),
        },
    ),
}

_CHINESE = {
    Split.TRAIN: Home(
        areas=("厨房", "客厅", "主卧", "走廊", "浴室", "车库", "阁楼", "书房", "婴儿房", "阳台", "地窖", "玄关"),
        floors=("一楼", "地下室", "楼上"),
        devices={
            "light": ("吊灯", "阅读灯", "落地灯", "霓虹灯", "灯带", "镜前灯"),
            "switch": ("咖啡机", "热水壶", "打印机", "鱼缸水泵"),
            "fan": ("塔扇", "排气扇", "油烟机"),
            "media_player": ("电视", "收音机", "回音壁", "蓝牙音箱"),
            "climate": ("温控器", "地暖", "挂机空调"),
            "cover": ("卷帘", "铁闸", "丝绒窗帘"),
            "valve": ("喷灌阀", "总水阀"),
            "lock": ("前门", "后门", "保险柜"),
            "scene": ("观影之夜", "早安", "派对时间"),
            "script": ("睡前流程", "离家", "度假模式"),
            "button": ("门铃测试", "重启路由器"),
        },
    ),
    Split.DEV: Home(
        areas=("餐厅", "阳光房", "洗衣房", "露台", "画室", "客房"),
        floors=("三楼", "底层"),
        devices={
            "light": ("画框灯", "灯笼", "层板灯"),
            "switch": ("电饭煲", "净化器", "电热毯"),
            "fan": ("立扇", "台扇"),
            "media_player": ("家庭影院", "监听音箱", "闹钟"),
            "climate": ("柜机空调", "暖气片"),
            "cover": ("遮阳帆", "推拉门"),
            "valve": ("燃气阀",),
            "lock": ("侧门", "工具房"),
            "scene": ("日落", "写作业"),
            "script": ("迎宾", "起床号"),
            "button": ("喂猫",),
        },
    ),
    Split.HOLDOUT: Home(
        areas=("图书室", "储藏室", "游戏室", "工作间", "门廊", "温室", "桑拿房", "酒窖", "琴房", "衣帽间"),
        floors=("二楼", "顶层", "夹层"),
        devices={
            "light": ("枝形灯", "火炬灯", "钢琴灯", "橱柜灯", "泛光灯"),
            "switch": ("烤面包机", "除湿机", "喷泉", "缝纫机"),
            "fan": ("螺旋桨扇", "喷雾扇"),
            "media_player": ("点唱机", "投影仪", "卡拉机", "游戏机"),
            "climate": ("热泵", "壁炉", "水冷机"),
            "cover": ("罗马帘", "谷仓门", "凉亭顶"),
            "valve": ("滴灌阀", "泳池阀"),
            "lock": ("北门", "药箱", "单车棚"),
            "scene": ("雨天", "瑜伽", "烛光"),
            "script": ("采收循环", "夜间巡逻"),
            "button": ("呼叫电梯", "浇蕨草"),
        },
    ),
}  # fmt: skip

HOMES: Mapping[str, Mapping[Split, Home]] = {"en": _ENGLISH, "zh": _CHINESE}
