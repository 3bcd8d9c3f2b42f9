from setuptools import find_packages, setup

package_name = "dialtone_bridge"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="Dialtone maintainers",
    maintainer_email="maintainers@dialtone.invalid",
    description="ROS 2 to NATS and Foxglove, both ways",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "bridge_node = dialtone_bridge.node:main",
            "nats_server = dialtone_bridge.nats_server:main",
        ],
        "dialtone.transports": [
            f"{name} = dialtone_bridge.ros_{name}:create" for name in ("nats", "foxglove")
        ],
        "dialtone.verbs": [
            "routes = dialtone_bridge.verbs.routes:routes",
            "hub = dialtone_bridge.verbs.hub:hub",
            "fleet = dialtone_bridge.verbs.fleet:fleet",
        ],
    },
)
