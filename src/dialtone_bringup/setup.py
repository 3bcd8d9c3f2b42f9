from glob import glob

from setuptools import find_packages, setup

package_name = "dialtone_bringup"
folders = ("config", "config/foxglove", "launch", "urdf")
data = {folder: sorted(glob(f"{folder}/*.*")) for folder in folders}

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        *((f"share/{package_name}/{folder}", files) for folder, files in data.items()),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="Dialtone maintainers",
    maintainer_email="maintainers@dialtone.invalid",
    description="Process graph, launch files, profiles, supervisor and the command line",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [],
        "dialtone.verbs": [
            f"{verb} = dialtone_bringup.verbs.{verb}:{verb}"
            for verb in ("up", "doctor", "test", "check", "selftest", "bench")
        ],
    },
)
