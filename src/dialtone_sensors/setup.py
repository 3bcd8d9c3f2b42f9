from setuptools import find_packages, setup

package_name = "dialtone_sensors"

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
    description="Camera and host-metrics nodes",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "camera_node = dialtone_sensors.camera_node:main",
            "host_metrics_node = dialtone_sensors.host_metrics_node:main",
        ],
        "dialtone.verbs": [],
        "dialtone.cameras": [
            "sim = dialtone_sensors.drivers.sim:create",
            "v4l2 = dialtone_sensors.drivers.v4l2:create",
        ],
    },
)
