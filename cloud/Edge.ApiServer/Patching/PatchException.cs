namespace Edge.ApiServer.Patching;

/// <summary>A patch that cannot be applied; the message says which part and why. The REST layer answers 422 or 400 with it.</summary>
internal sealed class PatchException(string message) : Exception(message);
