namespace Edge.Cloud;

/// <summary>CloudCore cannot start or go on; the message says what, why and what to change.</summary>
public sealed class CloudCoreException : Exception
{
    public CloudCoreException(string message)
        : base(message)
    {
    }

    public CloudCoreException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
