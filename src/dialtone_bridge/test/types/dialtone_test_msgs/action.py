"""``dialtone_test_msgs/action/Count``: a goal, feedback and result of one Int32 each."""

from __future__ import annotations

from std_msgs.msg import Int32, String

from dialtone_test_msgs.composed import compose_action

Count = compose_action("dialtone_test_msgs", "Count", goal=Int32, result=String, feedback=Int32)
