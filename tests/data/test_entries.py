from gatentk.data.entries import Features, FileFormat, Generated, Published


def published(read_test=None):
    return Published(name="images", place=1, read=len, read_test=read_test, path="a folder")


def test_names_by_kind():
    assert Generated(name="noise", place=1, draw=max, default=3).names == ("noise",)
    assert published().names == ("images",)
    assert published(repr).names == ("images", "images-test")
    assert FileFormat(name="csv", place=1, read=len, samples_note="", training_note="").names == ("csv:PATH",)
    assert Features(name="speech", place=1).names == ()


def test_each_name_has_its_reader():
    assert published().reader("images") is len
    assert published(repr).reader("images") is len
    assert published(repr).reader("images-test") is repr


def test_published_files_and_features_are_brought():
    assert published().brought
    assert Features(name="speech", place=1).brought
    assert not Generated(name="noise", place=1, draw=max, default=3).brought
