namespace Edge.Ctl.Devices;

/// <summary>A Device by namespace and name, as typed: <c>NS/NAME</c>, or <c>NAME</c> in the namespace in force.</summary>
internal sealed record DeviceName(string Namespace, string Name)
{
    public override string ToString() => $"{Namespace}/{Name}";

    /// <summary>Null with the reason when it is neither.</summary>
    public static DeviceName? TryRead(string text, string @namespace, out string error)
    {
        error = "";
        var parts = text.Split('/');
        // kubectl's form of one argument, device/NAME, is a slip that people make here.
        if (parts is ["device" or "devices", { Length: > 0 } kubectl] && @namespace is not ("device" or "devices"))
            error = $"'{text}': the part before '/' is the namespace; write {@namespace}/{kubectl}";
        else if (parts is [{ Length: > 0 } name])
            return new DeviceName(@namespace, name);
        else if (parts is [{ Length: > 0 } space, { Length: > 0 } ofSpace])
            return new DeviceName(space, ofSpace);
        else
            error = $"'{text}' must be NAMESPACE/NAME or NAME, e.g. default/thermostat-1";
        return null;
    }
}
