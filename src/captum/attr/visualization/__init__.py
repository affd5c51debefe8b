"""Pictures of attributions: on images, along time series, over words."""

from captum.attr.visualization.image import (
    ImageVisualizationMethod,
    visualize_image_attr,
    visualize_image_attr_multiple,
)
from captum.attr.visualization.scaling import VisualizeSign
from captum.attr.visualization.text import (
    TextVisualization,
    VisualizationDataRecord,
    format_classname,
    format_special_tokens,
    format_tooltip,
    format_word_importances,
    visualize_text,
)
from captum.attr.visualization.timeseries import (
    TimeseriesVisualizationMethod,
    visualize_timeseries_attr,
)

__all__ = [
    "ImageVisualizationMethod",
    "TextVisualization",
    "TimeseriesVisualizationMethod",
    "VisualizationDataRecord",
    "VisualizeSign",
    "format_classname",
    "format_special_tokens",
    "format_tooltip",
    "format_word_importances",
    "visualize_image_attr",
    "visualize_image_attr_multiple",
    "visualize_text",
    "visualize_timeseries_attr",
]
