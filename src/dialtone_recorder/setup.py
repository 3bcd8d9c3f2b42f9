from setuptools import find_packages, setup

package_name = "dialtone_recorder"

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
    description="Episodes: durable MCAP recording that ros2 bag and rosbags read",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["recorder_node = dialtone_recorder.node:main"],
        "dialtone.exporters": [
            "hdf5 = dialtone_recorder.exports.hdf5:Hdf5",
            "lerobot = dialtone_recorder.exports.lerobot:LeRobot",
            "parquet = dialtone_recorder.exports.parquet:Parquet",
        ],
        "dialtone.verbs": [
            "collect = dialtone_recorder.verbs.collect:collect",
            "dataset = dialtone_recorder.verbs.dataset:app",
            "episodes = dialtone_recorder.verbs.episodes:app",
            "export = dialtone_recorder.verbs.export:export",
        ],
    },
)
