from setuptools import find_packages, setup

package_name = "dialtone_teleop"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "fastdds/*.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="Dialtone maintainers",
    maintainer_email="maintainers@dialtone.invalid",
    description="Arbitration, safety, actuators: from command to wire",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["teleop_node = dialtone_teleop.node:main"],
        "dialtone.verbs": [
            f"{verb} = dialtone_teleop.verbs.{verb}:{verb}" for verb in ("drive", "repl", "estop")
        ],
        "dialtone.actuators": [
            f"{name} = dialtone_teleop.actuators.{name}:create"
            for name in ("mavlink", "neck", "ros_topic", "sim", "twist_serial")
        ],
    },
)
