namespace Edge.ApiServer.Validation;

/// <summary>One fault of an object: <paramref name="Type"/> is the metav1 cause's reason (FieldValueRequired, FieldValueInvalid, …),
/// <paramref name="Field"/> the path as Kubernetes writes it (<c>spec.containers[0].name</c>), <paramref name="Detail"/> the text that
/// follows the path, e.g. <c>Invalid value: "x": must be …</c>.</summary>
internal sealed record FieldError(string Type, string Field, string Detail)
{
    public override string ToString() => $"{Field}: {Detail}";
}
