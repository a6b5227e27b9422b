"""Print every change of alarm and stop command of running nodes: python listen_to_alarms.py [SECONDS]"""

import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Bool

last: dict[str, str] = {}


def show(name: str, text: str) -> None:
    """Print a text that is not the last one of this name."""
    if last.get(name) != text:
        last[name] = text
        print(f"{name}: {text}", flush=True)


def on_alarm(message: DiagnosticArray) -> None:
    """Show the state of each camera, and the sentence for people."""
    for status in message.status:
        values = {item.key: item.value for item in status.values}
        show(values["camera"], f"{values['state']}, {values.get('cause', '')}")


rclpy.init()
node = rclpy.create_node("listener")
node.create_subscription(DiagnosticArray, "/perception_node/ood_alarm", on_alarm, 10)
node.create_subscription(Bool, "/supervisor_node/stop", lambda message: show("stop", str(message.data)), 10)
end = time.monotonic() + float(sys.argv[1]) if sys.argv[1:] else float("inf")
print("listening", flush=True)
while time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.2)
rclpy.shutdown()
