namespace Edge.Cloud.CloudStream;

/// <summary>There is no stream to a node; the message says why and is meant for who asked.</summary>
public sealed class NodeStreamException(string message) : IOException(message);
