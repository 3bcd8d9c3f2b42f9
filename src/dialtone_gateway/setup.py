from setuptools import find_packages, setup

package_name = "dialtone_gateway"

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
    description="The web: dashboard, video, API, login",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["gateway = dialtone_gateway.main:main"],
        "dialtone.verbs": ["users = dialtone_gateway.verbs.users:users"],
    },
)
